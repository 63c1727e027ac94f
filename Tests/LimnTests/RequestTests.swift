import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnImage
import LimnTesting
import LimnText
import Testing

private let picture = ImageSource.pixels(RGBImage(width: 2, height: 1, pixels: [0, 1, 2, 3, 4, 5]))

private func model() async throws -> VisionLanguageModel { try await ModelCase("llama-mha").open() }

@Suite struct RequestTests {
  @Test("a question has the same answer whether asked, streamed or part of a session")
  func ways() async throws {
    let model = try await model()
    var options = GenerationOptions()
    options.maxTokens = 8
    let request = Request(
      [ChatMessage(.system, "be brief"), ChatMessage(.user, "hello", images: [picture])], options: options)
    let answer = try await model.answer(request)
    #expect(!answer.text.isEmpty && request.images == [picture])
    #expect(try await model.ask("hello", images: [picture], system: "be brief", options: options).text == answer.text)
    for stream in [
      model.stream(request), ChatSession(model, system: "be brief").send("hello", images: [picture], options: options),
    ] {
      var (text, last) = ("", nil as Answer?)
      for try await event in stream {
        if case .text(let piece) = event { text += piece }
        if case .finished(let answer) = event { last = answer }
      }
      #expect(text == answer.text && last?.text == answer.text && last?.usage == answer.usage)
    }
  }

  @Test("a raw prompt is tokenised as it is, and images that it does not place come first")
  func raw() async throws {
    let model = try await model()
    func prompt(_ text: String, _ count: Int) throws -> Prompt {
      try model.prompt(Request(rawPrompt: text, images: Array(repeating: picture, count: count)))
    }
    func tokenised(_ text: String) -> Prompt {
      Prompt(text: text, tokenizer: model.tokenizer, imageToken: model.checkpoint.config.imageTokenID)
    }
    #expect(try prompt("hello</s>", 0) == tokenised("hello</s>"))
    #expect(try prompt("hello", 2) == tokenised("<image>\n<image>\nhello"))
    #expect(try prompt("hello <image>", 1) == tokenised("hello <image>"))
    #expect(try prompt("hello <image>", 0).imageCount == 1)
  }

  @Test(
    "text in messages never becomes a special token or an image's place, unless requested",
    arguments: ["llama-mha", "phi3-longrope-short", "gguf-pair"])
  func data(_ name: String) async throws {
    let model = try await ModelCase(name).open()
    func conversation(_ text: String) -> [ChatMessage] {
      [
        ChatMessage(.user, [.text(text), .image(picture), .text(text)]), ChatMessage(.assistant, text),
        ChatMessage(.user, text),
      ]
    }
    let specialIDs = model.tokenizer.specialIDs.filter { $0 != model.tokenizer.unknownID }
    func special(_ prompt: Prompt) -> [Int] {
      var found: [Int] = []
      for case .tokens(let ids) in prompt.pieces { found += ids.map(Int.init).filter(specialIDs.contains) }
      return found
    }
    let harmless = special(try model.prompt(Request(conversation("hello"))))
    let names = specialIDs.compactMap(model.tokenizer.piece)
    var options = GenerationOptions()
    options.recognisesSpecialTokens = true
    for name in names.sorted() + ["<image>", "<|e<|end|>nd|>", "\(Unicode.Scalar(0xFDD0 as UInt32)!)<image>"] {
      let request = Request(conversation("a\(name) \(name)\n\(name)"))
      let prompt = try model.prompt(request)
      #expect(prompt.imageCount == 1 && special(prompt) == harmless, "\(name)")
      guard names.contains(name) || name == "<image>" else { continue }
      let recognised = try model.prompt(Request(conversation("a" + name), options: options))
      #expect(special(recognised) != harmless || recognised.imageCount == 5, "\(name)")
    }
  }

  @Test("a text without special tokens gives the same ids whether or not they are recognised")
  func sameIDs() async throws {
    let model = try await model()
    func prompt(_ text: String, _ recognises: Bool) throws -> Prompt {
      var options = GenerationOptions()
      options.recognisesSpecialTokens = recognises
      return try model.prompt(Request([ChatMessage(.user, text, images: [picture])], options: options))
    }
    for text in ["hello", "a < b <", "", "  x \n", "[INST] <b>é</b> 天"] {
      #expect(try prompt(text, false) == prompt(text, true), "\(text)")
    }
    #expect(try prompt("Say <image> and <image>", false).imageCount == 1)
    #expect(try prompt("here: <image>.", false) == prompt("here: <image>.", true))
  }
}

@Suite struct PromptTests {
  @Test("a prompt with one token per image row equals the prompt with one token per image")
  func collapse() throws {
    var random = SeededRandom(11)
    for _ in 0..<300 {
      let rows = (0..<Int.random(in: 0...4, using: &random)).map { _ in Int.random(in: 1...5, using: &random) }
      var (ids, expanded) = ([Int](), [Int]())
      func text() {
        let run = (0..<Int.random(in: 1...4, using: &random)).map { _ in Int.random(in: 0..<50, using: &random) }
        ids += run
        expanded += run
      }
      text()
      for count in rows {
        ids.append(99)
        expanded += Array(repeating: 99, count: count)
        text()
      }
      let prompt = try Prompt(ids: ids, imageToken: 99, imageTokenCounts: rows, vocabulary: 100)
      #expect(try Prompt(ids: expanded, imageToken: 99, imageTokenCounts: rows, vocabulary: 100) == prompt)
      let placeholders = ids.map { $0 == 99 ? Prompt.imagePlaceholder : $0 }
      #expect(try Prompt(ids: placeholders, imageToken: nil, imageTokenCounts: rows, vocabulary: 100) == prompt)
      #expect(prompt.imageCount == rows.count)
      var picture = 0
      let back = prompt.pieces.flatMap { piece -> [Int] in
        guard case .tokens(let tokens) = piece else {
          #expect(piece == .image(picture))
          picture += 1
          return [99]
        }
        return tokens.map(Int.init)
      }
      #expect(back == ids)
    }
  }
}
