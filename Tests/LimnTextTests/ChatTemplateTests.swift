import Foundation
import LimnFiles
import LimnTensor
import LimnText
import Testing

/// Acceptance cases that lie beside the package in continuous integration, not in a user's clone.
private let sharedCases = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().appending(path: "../shared/checks/cases/templates").standardizedFileURL.path

@Suite("Chat templates")
struct ChatTemplateTests {
  @Test(
    "published templates render as transformers renders them",
    // The folder `shared` beside the package exists in continuous integration only.
    .enabled(if: FileManager.default.fileExists(atPath: sharedCases)))
  func publishedTemplates() throws {
    let cases = try #require(try JSON.parse(file: sharedCases + "/cases.json").array)
    #expect(!cases.isEmpty)
    for entry in cases {
      let folder = sharedCases + "/" + (entry["model"]?.string ?? "")
      let template = try #require(try ChatTemplate.find(in: .folder(path: folder)))
      let config = try JSON.parse(file: folder + "/tokenizer_config.json")
      var tokens: [String: String] = [:]
      for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        tokens[name] = config[name]?.string ?? config[name]?["content"]?.string
      }
      let messages = try JSON.parse(file: sharedCases + "/" + (entry["messages"]?.string ?? ""))
      let text = Result { try template.render(messages: messages, addGenerationPrompt: true, specialTokens: tokens) }
      let expected = entry["text"]?.string
      if let expected {
        #expect(try text.get() == expected, "\(entry["model"]!), \(entry["messages"]!)")
      } else {
        #expect(throws: LimnError.self) { try text.get() }
      }
    }
  }
}
