import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTesting
import Synchronization
import Testing

/// A square of one colour.
private func picture(_ value: UInt8) -> ImageSource {
  .pixels(RGBImage(width: 40, height: 40, pixels: (0..<4800).map { UInt8($0 % 3 == 0 ? 255 : 0) ^ value }))
}

private func options(_ maxTokens: Int = 12, reuse: Bool = true) -> GenerationOptions {
  var options = GenerationOptions()
  options.maxTokens = maxTokens
  options.reuse = reuse
  return options
}

private func model(cacheBytes: Int = 1 << 30, _ name: String = "llama-mha") async throws
  -> VisionLanguageModel
{
  var load = LoadOptions()
  load.preprocess = .hf
  load.cacheBytes = cacheBytes
  load.context = 1024
  return try await VisionLanguageModel.load(try ModelCase(name).model, options: load)
}

@Suite struct ReuseTests {
  @Test(
    "another question about the same image computes only the new words, and is answered as if it were the first"
  )
  func samePicture() async throws {
    let (model, fresh) = (try await model(), try await model())
    _ = try await model.ask("hello", images: [picture(0)], options: options())
    let second = try await model.ask("goodbye world", images: [picture(0)], options: options())
    let alone = try await fresh.ask("goodbye world", images: [picture(0)], options: options(reuse: false))
    #expect(second.text == alone.text)
    #expect(alone.timings.promptComputed == alone.usage.promptTokens)
    #expect(second.timings.promptComputed < second.usage.promptTokens - second.usage.imageTokens)
  }

  @Test("another image of the same size is told apart")
  func otherPicture() async throws {
    let model = try await model()
    let first = try await model.ask("hello", images: [picture(0)], options: options())
    let second = try await model.ask("hello", images: [picture(90)], options: options())
    let alone = try await model.ask("hello", images: [picture(90)], options: options(reuse: false))
    #expect(second.text == alone.text)
    #expect(second.timings.promptComputed >= second.usage.imageTokens)
    // A tiny model may answer both alike, but their embeddings must differ.
    let embeddings = try await model.encode([picture(0), picture(90)], reuse: true)
    #expect(embeddings[0].key != embeddings[1].key)
    #expect(Array(embeddings[0].values) != Array(embeddings[1].values))
    #expect(first.usage == second.usage)
  }

  @Test("the same image is encoded once, but anew if nothing may be reused or kept")
  func embeddings() async throws {
    let model = try await model()
    let first = try await model.encode([picture(0)], reuse: true)[0]
    #expect(try await model.encode([picture(0)], reuse: true)[0] === first)
    let anew = try await model.encode([picture(0)])[0]
    #expect(anew !== first && Array(anew.values) == Array(first.values))
    await model.engine.forget()
    #expect(try await model.encode([picture(0)], reuse: true)[0] !== first)
    let forgetful = try await ReuseTests.opened(cacheBytes: 0)
    let once = try await forgetful.encode([picture(0)], reuse: true)[0]
    #expect(try await forgetful.encode([picture(0)], reuse: true)[0] !== once)
  }

  private static func opened(cacheBytes: Int) async throws -> VisionLanguageModel {
    try await model(cacheBytes: cacheBytes)
  }

  @Test("images are kept up to a number of bytes, and the oldest are dropped first")
  func pictureLimit() async throws {
    let size = try await model().encode([picture(0)])[0].values.count * 4
    // An eighth is for images: room for two.
    let model = try await model(cacheBytes: 8 * 2 * size)
    let first = try await model.encode([picture(0)], reuse: true)[0]
    let second = try await model.encode([picture(1)], reuse: true)[0]
    #expect(try await model.encode([picture(0)], reuse: true)[0] === first)
    _ = try await model.encode([picture(2)], reuse: true)
    #expect(try await model.encode([picture(0)], reuse: true)[0] === first)
    #expect(try await model.encode([picture(1)], reuse: true)[0] !== second)
  }

  @Test(
    "a conversation's next turn computes only what is new, even after another one, but with --no-cache everything"
  )
  func turns() async throws {
    let model = try await model()
    let (one, other) = (ChatSession(model), ChatSession(model, system: "be brief and kind"))
    func say(_ session: ChatSession, _ text: String, reuse: Bool = true) async throws -> Answer {
      for try await event in session.send(text, options: options(reuse: reuse)) {
        if case .finished(let answer) = event { return answer }
      }
      throw LimnError(.interrupted, "stopped")
    }
    _ = try await say(one, "hello hello hello hello hello")
    _ = try await say(other, "goodbye goodbye goodbye goodbye")
    let turn = try await say(one, "again")
    #expect(turn.timings.promptComputed < turn.usage.promptTokens)
    let otherTurn = try await say(other, "again")
    #expect(otherTurn.timings.promptComputed < otherTurn.usage.promptTokens)
    let anew = try await say(one, "again", reuse: false)
    #expect(anew.timings.promptComputed == anew.usage.promptTokens)
  }

  @Test("a cache that is too small keeps only the latest conversation")
  func smallMemory() async throws {
    let model = try await model(cacheBytes: 8)
    _ = try await model.ask("hello hello hello", options: options())
    let same = try await model.ask("hello hello hello", options: options())
    #expect(same.timings.promptComputed == 1)
    _ = try await model.ask("goodbye goodbye goodbye goodbye goodbye goodbye goodbye", options: options(60))
    let back = try await model.ask("hello hello hello", options: options())
    #expect(back.timings.promptComputed > 1)
  }

  @Test("questions asked at the same time are answered as if each were alone")
  func atTheSameTime() async throws {
    let model = try await model()
    let questions = (0..<8).map { ("hello \($0) world", UInt8($0 % 3)) }
    var expected: [String] = []
    for (text, value) in questions {
      expected.append(
        try await model.ask(text, images: [picture(value)], options: options(reuse: false)).text)
    }
    let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
      for (index, (text, value)) in questions.enumerated() {
        group.addTask {
          (index, try await model.ask(text, images: [picture(value)], options: options()).text)
        }
      }
      return try await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
    }
    #expect((0..<8).map { answers[$0] } == expected)
  }

  @Test("an image is recognised by its file, and by its pixels in another file")
  func files() async throws {
    let model = try await model()
    let testCase = try ModelCase("llama-mha")
    let source = testCase.sources[0]
    let bytes = try #require(try source.bytes())
    let first = try await model.encode([source], reuse: true)[0]
    #expect(try await model.encode([.data(bytes, name: "the same")], reuse: true)[0] === first)
    // Bytes after the end of an image make it another file of the same image.
    #expect(try await model.encode([.data(bytes + [0], name: "longer")], reuse: true)[0] === first)
    #expect(try await model.encode([.pixels(try source.image())], reuse: true)[0] === first)
    let other = try ModelCase("llama-mha-two").sources[1]
    #expect(try await model.encode([other], reuse: true)[0] !== first)
  }

  @Test("an image in a conversation stays as it was when its file changes")
  func settledFile() async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID()).png")
    try Data(try #require(try ModelCase("llama-mha").sources[0].bytes())).write(to: file)
    let source = try ImageSource.path(file.path).settled()
    let before = try source.image()
    try FileManager.default.removeItem(at: file)
    #expect(try source.image() == before)
    #expect(source.name == file.path)
  }

  @Test("a model whose rotary tables change with the length reuses no keys and values, and answers the same")
  func longRope() async throws {
    let model = try await model("phi3-longrope-short")
    _ = try await model.ask("hello", options: options())
    let again = try await model.ask("hello", options: options())
    let anew = try await model.ask("hello", options: options(reuse: false))
    #expect(again.timings.promptComputed == again.usage.promptTokens)
    #expect(again.text == anew.text)
  }
}
