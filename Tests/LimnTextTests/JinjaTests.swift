import Foundation
import LimnFiles
import LimnTensor
import LimnText
import Testing

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "Fixtures/Templates").path

/// Templates against what transformers' engine makes of them; Tools/fixtures/templates.py writes the cases.
@Suite("The template engine")
struct JinjaTests {
  let context: JSONObject

  init() throws { context = try #require(try JSON.parse(file: fixtures + "/context.json").object) }

  private func outcome(_ source: String) -> Result<String, LimnError> {
    do throws(LimnError) {
      let template = try ChatTemplate(source: source, name: "test")
      let message: JSON = .object(["role": .string("user"), "content": .string("")])
      return .success(
        try template.render(
          messages: .array([message]), addGenerationPrompt: true, specialTokens: [:], extra: context))
    } catch {
      return .failure(error)
    }
  }

  @Test("statements and expressions give the text of the reference, or an error where it has one",
    arguments: ["statements.json", "expressions.json"])
  func reference(file: String) throws {
    let cases = try #require(try JSON.parse(file: fixtures + "/" + file).array)
    #expect(cases.count > 100)
    for pair in cases {
      let (source, expected) = (try #require(pair.array?[0].string), pair.array?[1].string)
      let got = outcome(source)
      let text = try? got.get()
      #expect(text.map(ExactString.init) == expected.map(ExactString.init), "\(source): \(got)")
    }
  }
}
