import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnImage
import Testing

@Suite("Errors") struct LimnErrorTests {
  @Test("each channel names options in its own way, and the rest of the line is the same")
  func channels() {
    let error = LimnError.badData(
      code: .contextLengthExceeded, "the prompt does not fit", in: "a", expected: "5", found: "9",
      remedy: "shorten it, raise \(.context), or use \(.overflow, "truncate-middle")")
    let start = "a: the prompt does not fit: expected 5, found 9; shorten it, raise "
    #expect(error.description(for: .command) == start + "--context, or use --overflow truncate-middle")
    #expect(
      error.description(for: .swift)
        == start + "LoadOptions.context, or use GenerationOptions.overflow = .truncateMiddle")
    #expect(error.description(for: .json) == start + #"context, or use overflow: "truncate-middle""#)
    #expect(error.description == error.description(for: .swift) && "\(error)" == error.description)
  }

  @Test("a text without options is a plain string, and a text can contain another")
  func texts() {
    let plain: LimnError.Text = "check \("the") path \(3)"
    #expect(plain == "check the path 3" && plain.description(for: .command) == "check the path 3")
    let inner: LimnError.Text = "raise \(.context)"
    let outer: LimnError.Text = "shorten it, or \(inner)"
    #expect(outer.description(for: .command) == "shorten it, or raise --context")
    #expect(outer != "shorten it, or raise --context")
    let template: LimnError.Text = "try \(.template, "phi-3")"
    #expect(template.description == #"try LoadOptions.template = "phi-3""#)
  }

  @Test("control characters from a file never reach a terminal through any part of an error")
  func hostileTexts() {
    let error = LimnError(
      .badData, "a\u{1B}[2J", in: "b\u{7}", expected: "c\n", found: "d\u{202E}", remedy: "e\r\(.model)")
    for channel in LimnError.Channel.allCases {
      #expect(
        error.description(for: channel)
          == "b?: a?[2J: expected c?, found d?; e?\(LimnError.Option.model.name(for: channel))")
    }
  }

  @Test("every option that Swift users are told to set exists")
  func swiftNames() {
    let properties = [
      "LoadOptions": Mirror(reflecting: LoadOptions()), "GenerationOptions": Mirror(reflecting: GenerationOptions()),
      "ImageOptions": Mirror(reflecting: ImageOptions()),
    ].mapValues { Set($0.children.compactMap(\.label)) }
    for option in LimnError.Option.allCases {
      let words = option.name(for: .swift).split(separator: ".").map(String.init)
      guard words.count == 2, let known = properties[words[0]] else { continue }
      #expect(known.contains(words[1]), "\(option)")
    }
  }

  @Test("codes and options have distinct names")
  func names() {
    #expect(Set(LimnError.Code.allCases.map(\.rawValue)).count == LimnError.Code.allCases.count)
    for channel in LimnError.Channel.allCases {
      #expect(Set(LimnError.Option.allCases.map { $0.name(for: channel) }).count == LimnError.Option.allCases.count)
    }
  }

  @Test("common mistakes have the codes by which programs tell them apart")
  func codes() async throws {
    let files = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")
    try FileManager.default.createDirectory(at: files, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: files) }
    func file(_ name: String, _ content: String) throws -> String {
      try Data(content.utf8).write(to: files.appending(path: name))
      return files.path + "/" + name
    }
    let model = try await ModelCase("llama-mha").open()
    let textOnly = try await VisionLanguageModel.load(ModelCase.root + "/checkpoints/layout-base")
    var reached: [LimnError.Code: [LimnError]] = [:]
    func mistake(_ code: LimnError.Code, _ body: () async throws -> Void) async {
      let error = await #expect(throws: LimnError.self, "\(code)") { try await body() }
      #expect(error?.code == code, "\(error?.description ?? "")")
      if let error { reached[code, default: []].append(error) }
    }
    func load(_ reference: String, _ change: (inout LoadOptions) -> Void = { _ in }) async throws {
      var options = LoadOptions()
      change(&options)
      _ = try await VisionLanguageModel.load(reference, options: options)
    }
    func ask(_ question: String, _ image: String? = nil) async throws {
      _ = try await model.ask(question, images: image.map { [.path($0)] } ?? [])
    }

    await mistake(.invalidArgument) { try await load(model.checkpoint.reference) { $0.context = -1 } }
    await mistake(.invalidArgument) { try await load(model.checkpoint.reference) { $0.template = "nonsense" } }
    await mistake(.invalidArgument) { try await load(model.checkpoint.reference) { $0.projectorFile = "x.gguf" } }
    await mistake(.modelNotFound) { try await load("/nowhere/model") }
    await mistake(.modelNotFound) { try await load(files.path) }
    await mistake(.modelUnreadable) { try await load(try file("broken.gguf", "GGUF\u{3}")) }
    await mistake(.modelNotFound) { _ = try await ModelReport("/nowhere/model") }
    let problem = try await ModelReport(try file("cut.gguf", "GGUF")).problem
    #expect(problem?.code == .modelUnreadable)
    await mistake(.imageNotFound) { try await ask("hello", "/nowhere/a.png") }
    await mistake(.imageUnreadable) { try await ask("hello", try file("a.png", "not a picture")) }
    await mistake(.imageUnreadable) { try await ask("hello", files.path) }
    await mistake(.imageUnreadable) { _ = try ImageSource(dataURL: "data:,%") }
    // A PNG whose header claims 65,536 × 65,536 pixels.
    let header: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52]
    let size: [UInt8] = [0, 1, 0, 0, 0, 1, 0, 0, 8, 2, 0, 0, 0, 0xE3, 0xE6, 0xA7, 0xB4]
    let noData: [UInt8] = [0, 0, 0, 0, 0x49, 0x44, 0x41, 0x54, 0x35, 0xAF, 0x06, 0x1E]
    await mistake(.imageTooLarge) { _ = try RGBImage(decoding: header + size + noData, name: "large") }
    await mistake(.contextLengthExceeded) { try await ask(String(repeating: "hello ", count: 2000)) }
    await mistake(.invalidPrompt) { _ = try await textOnly.ask("hello", images: model.testImages) }
    await mistake(.invalidSchema) {
      var options = GenerationOptions()
      options.format = .json(schema: #"{"type": "strin"}"#)
      _ = try await model.ask("hello", options: options)
    }
    await mistake(.fileNotFound) { _ = try JSON.parse(file: "/nowhere/messages.json") }
    await mistake(.fileUnreadable) { _ = try JSON.parse(file: try file("messages.json", "[{]")) }
    await mistake(.cancelled) {
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await model.ask("hello")
      }
      _ = try await task.value
    }
    // The other codes arise only from the machine, from too many requests, and from defects of limn itself.
    #expect(Set(LimnError.Code.allCases).subtracting(reached.keys) == [.queueFull, .unavailable, .defect])
  }
}

extension VisionLanguageModel {
  fileprivate var testImages: [ImageSource] { [.pixels(RGBImage(width: 1, height: 1, pixels: [0, 0, 0]))] }
}
