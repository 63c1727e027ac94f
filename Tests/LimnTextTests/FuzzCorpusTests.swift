import Foundation
import LimnFiles
import LimnCore
import LimnText
import Testing

/// Inputs with which the fuzzers of Tools/fuzz reached every corner of a parser.
@Suite struct TextFuzzCorpusTests {
  private func replay(_ parser: String, as name: String, _ read: (String) throws -> Void) throws {
    let corpus = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/Fuzz/\(parser)")
    let folder = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var (accepted, refused) = (0, 0)
    for input in try FileManager.default.contentsOfDirectory(at: corpus, includingPropertiesForKeys: nil) {
      try Data(contentsOf: input).write(to: folder.appending(path: name))
      do {
        try read(folder.path())
        accepted += 1
      } catch let error as LimnError {
        #expect(!error.description.contains(where: \.isNewline) && !error.description.isEmpty)
        refused += 1
      }
    }
    // A corpus whose inputs are all accepted, or all refused, would test little.
    #expect(accepted > 0 && refused > 0, "\(accepted) accepted, \(refused) refused")
  }

  private func thereAndBack(_ folder: String) throws {
    let tokenizer = try Tokenizer(.folder(path: folder))
    _ = tokenizer.decode(tokenizer.encode("Hello  World, it's 2024!\n<s>  日本語 🙂</s>"))
  }

  @Test("tokenizer.json of any kind is read, or refused with a one-line error")
  func tokenizer() throws { try replay("tokenizer", as: "tokenizer.json", thereAndBack) }

  @Test("tokenizer.model of any kind is read, or refused with a one-line error")
  func sentencePiece() throws { try replay("sentencepiece", as: "tokenizer.model", thereAndBack) }

  @Test("chat templates of any kind are rendered, or refused with a one-line error")
  func template() throws {
    let messages: JSON = .array([.object(["role": .string("user"), "content": .string("What is this?")])])
    try replay("template", as: "chat_template.jinja") { folder in
      let template = try #require(try ChatTemplate.find(in: .folder(path: folder)))
      _ = try template.render(
        messages: messages, addGenerationPrompt: true,
        specialTokens: ["bos_token": "<s>", "eos_token": "</s>"])
    }
  }
}
