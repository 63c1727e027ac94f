import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor
import Testing

/// A question about a scene that the demo model never saw, with the answer that follows from the scene's facts.
private struct SceneQuestion {
  let image: String
  let language: String
  let kind: String
  let question: String
  let answer: String

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/Demo").path

  static func all() throws -> [SceneQuestion] {
    let rows = try JSON.parse(file: folder + "/questions.json").array ?? []
    return rows.map { row in
      func text(_ key: String) -> String { row[key]?.string ?? "" }
      return SceneQuestion(
        image: folder + "/" + text("image"), language: text("lang"), kind: text("kind"),
        question: text("question"), answer: text("answer"))
    }
  }
}

@Suite struct DemoModelTests {
  private func answers(_ questions: [SceneQuestion], _ precision: Precision) async throws -> [String] {
    var options = LoadOptions()
    options.precision = precision
    let model = try await VisionLanguageModel.load(try DemoModel.path(), options: options)
    var answers: [String] = []
    for question in questions {
      let answer = try await model.ask(question.question, images: [.path(question.image)])
      answers.append(answer.text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
    return answers
  }

  @Test("the demo model answers 98% of questions about 200 unseen scenes correctly in each language")
  func unseenScenes() async throws {
    let questions = try SceneQuestion.all()
    #expect(questions.count == 400)
    let answers = try await answers(questions, .fast)
    for language in ["en", "zh-Hant"] {
      let rows = zip(questions, answers).filter { $0.0.language == language }
      let wrong = rows.filter { $0.0.answer != $0.1 }
      #expect(
        Double(rows.count - wrong.count) >= 0.98 * Double(rows.count),
        "\(wrong.map { "\($0.0.image.suffix(12)) \($0.0.question) \($0.1)" })")
    }
  }

  @Test("rounding activations costs no answers: fast and exact agree on all but one in two hundred")
  func fastAgainstExact() async throws {
    let questions = try SceneQuestion.all().filter { $0.language == "en" }
    let (fast, exact) = (try await answers(questions, .fast), try await answers(questions, .exact))
    func right(_ answers: [String]) -> Int { zip(questions, answers).count { $0.answer == $1 } }
    #expect(right(fast) >= right(exact) - 1)
  }
}
