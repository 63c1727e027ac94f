import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnImage
import LimnTesting
import LimnText
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let (a, b) = (ImageSource.path("a.png"), ImageSource.path("b.png"))

/// The format of a model with this chat template; nil: without one.
private func format(_ template: String?, name: String = "auto") throws -> ConversationFormat {
  let folder = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  try FileManager.default.copyItem(
    atPath: fixtures + "/Tokenizers/legacy/tokenizer.json", toPath: folder.path + "/tokenizer.json")
  try Data(#"{"bos_token": "<s>", "eos_token": "</s>"}"#.utf8)
    .write(to: folder.appending(path: "tokenizer_config.json"))
  if let template { try Data(template.utf8).write(to: folder.appending(path: "chat_template.jinja")) }
  let source = TokenizerSource.folder(path: folder.path)
  return try ConversationFormat(source, Tokenizer(source), architecture: nil, name: "m", template: name)
}

private func template(_ name: String) throws -> String {
  try #require(try JSON.parse(file: fixtures + "/Templates/prompts.json")["templates"]?[name]?.string)
}

@Suite struct ChatMessageTests {
  @Test("images go to their places if the text has one for each, else they come first")
  func places() {
    func parts(_ text: String, _ images: [ImageSource]) -> [ChatMessage.Part] {
      ChatMessage(.user, text, images: images).parts
    }
    #expect(parts("Q", []) == [.text("Q")])
    #expect(parts("Q", [a, b]) == [.image(a), .image(b), .text("Q")])
    #expect(parts("", [a]) == [.image(a), .text("")])
    #expect(
      parts("is <image>, or <image>?", [a, b]) == [
        .text("is "), .image(a), .text(", or "), .image(b), .text("?"),
      ])
    #expect(parts("<image>\nQ", [a]) == [.image(a), .text("\nQ")])
    #expect(parts("<image><image>", [a, b]) == [.image(a), .image(b)])
    // A mark is found even before a combining accent, which merges with the mark's last character.
    #expect(parts("<image>\u{301}", [a]) == [.image(a), .text("\u{301}")])
    #expect(parts("<image> and <image>", [a]) == [.image(a), .text("<image> and <image>")])
    #expect(parts("Say <image>", []) == [.text("Say <image>")])
    #expect(parts("<IMAGE> <image >", [a, b]).count == 3)
  }

  @Test("a message's text and images are those of its parts")
  func texts() {
    let message = ChatMessage(.user, [.text("x"), .image(a), .text("y"), .image(b)])
    #expect(message.text == "x\ny" && message.images == [a, b])
    let inline = ChatMessage(.user, "x <image> y", images: [a])
    #expect(inline.text == "x  y" && inline.images == [a])
  }

  @Test("a text split at its places and joined again is unchanged")
  func roundTrip() {
    var random = SeededRandom(7)
    let pieces = ["<image>", "<", "image>", "<image", ">", "é", "e", "\u{301}", "\r\n", " ", "🌅", "<image >"]
    for _ in 0..<500 {
      let text = (0..<Int.random(in: 0...12, using: &random)).map { _ in pieces.randomElement(using: &random)! }
        .joined()
      let count = text.cut(at: "<image>").count - 1
      #expect(ExactString(text.cut(at: "<image>").joined(separator: "<image>")) == ExactString(text))
      let message = ChatMessage(.user, text, images: Array(repeating: a, count: count))
      let joined = message.parts.map { if case .text(let text) = $0 { text } else { "<image>" } }.joined()
      #expect(ExactString(joined) == ExactString(text) && message.images.count == count)
    }
  }

  @Test("built-in templates and text templates get the parts in order, one line each")
  func textTemplates() throws {
    let mixed = ChatMessage(.user, [.text("x"), .image(a), .text("y"), .image(b)])
    let first = ChatMessage(.user, "x", images: [a, b])
    let inline = ChatMessage(.user, "is <image>, or <image>?", images: [a, b])
    let builtIn = try format(nil, name: "phi-3")
    func phi3(_ content: String) -> String { "<|user|>\n\(content)<|end|>\n<|assistant|>\n" }
    #expect(try builtIn.render([mixed]) == phi3("x\n<image>\ny\n<image>"))
    #expect(try builtIn.render([first]) == phi3("<image>\n<image>\nx"))
    #expect(try builtIn.render([inline]) == phi3("is <image>, or <image>?"))
    let text = try format(try template("texts"))
    #expect(try text.render([mixed]) == "[Q] x\n<image>\ny\n<image> [/Q]")
    #expect(try text.render([first]) == "[Q] <image>\n<image>\nx [/Q]")
    #expect(try text.render([inline]) == "[Q] is <image>, or <image>? [/Q]")
  }

  @Test("templates that understand parts get them in order, and render them their own way")
  func partTemplates() throws {
    let mixed = ChatMessage(.user, [.text("x"), .image(a), .text("y"), .image(b)])
    let inline = ChatMessage(.user, "is <image>, or <image>?", images: [a, b])
    let parts = try format(try template("parts"))
    #expect(try parts.render([mixed]) == "<s>[user]x<image>y<image>\n[assistant]")
    #expect(try parts.render([inline]) == "<s>[user]is <image>, or <image>?\n[assistant]")
    let first = try format(try template("images_first"))
    #expect(try first.render([mixed]).contains("<image>\n<image>\nxy"))
    #expect(try first.render([inline]).contains("is <image>, or <image>?"))
  }
}
