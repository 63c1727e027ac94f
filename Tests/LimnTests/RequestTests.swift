import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnImage
import LimnText
import Testing

private let picture = ImageSource.pixels(RGBImage(width: 2, height: 1, pixels: [0, 1, 2, 3, 4, 5]))

private func model() async throws -> VisionLanguageModel { try await ModelCase("llama-mha").open() }

@Suite struct RequestTests {
  @Test("asked, streamed and as a session's turn, a question is answered the same")
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

  @Test("a raw prompt is tokenised as it is, and its pictures come first where it does not place them")
  func raw() async throws {
    let model = try await model()
    func prompt(_ text: String, _ count: Int) throws -> Prompt {
      try model.prompt(Request(rawPrompt: text, images: Array(repeating: picture, count: count)))
    }
    func tokenised(_ text: String) throws -> Prompt {
      try Prompt(text: text, tokenizer: model.tokenizer, imageToken: model.checkpoint.config.imageTokenID)
    }
    #expect(try prompt("hello</s>", 0) == tokenised("hello</s>"))
    #expect(try prompt("hello", 2) == tokenised("<image>\n<image>\nhello"))
    #expect(try prompt("hello <image>", 1) == tokenised("hello <image>"))
    #expect(try prompt("hello <image>", 0).imageCount == 1)
  }
}
