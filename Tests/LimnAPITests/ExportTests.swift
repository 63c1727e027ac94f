import Foundation
import Limn
import Testing

/// What users of the library may name, with `import Limn` alone.
private let types: [Any.Type] = [
  Answer.self, Answer.FinishReason.self, Answer.Timings.self, Answer.Usage.self, AnswerEvent.self, AnswerFormat.self,
  Embedding.self, TokenLogprob.self,
  TokenLogprob.Alternative.self,
  ChatMessage.self,
  ChatMessage.Part.self, ChatMessage.Role.self, ChatSession.self, DemoModel.self, GenerationOptions.self,
  ImageOptions.self, ImageSource.self, KVType.self, LimnError.self, LimnError.Channel.self, LimnError.Code.self,
  LimnError.Kind.self,
  LimnError.Option.self, LimnError.Text.self, LoadOptions.self, ModelDoctor.self,
  ModelDoctor.Finding.self, ModelDoctor.Finding.Level.self, ModelReport.self, ModelReport.Fact.self, ModelSummary.self,
  ModelSummary.Language.self, ModelSummary.Vision.self, ModelSummary.Projector.self, OpeningProgress.self,
  OpeningStep.self, Overflow.self,
  Precision.self, PreprocessPolicy.self, LoadQuantization.self, LoadQuantization.Format.self, RGBImage.self,
  Request.self,
  Request.Prompt.self, Sampling.self, VisionLanguageModel.self,
]

@Suite struct ExportTests {
  @Test("what is public in the modules below Limn comes with it")
  func exports() throws {
    let exported = try names(in: ["Sources/Limn/Exports.swift"], after: #/@_exported public import \w+ \w+\./#)
    let modules = ["LimnCore", "LimnTensor", "LimnFiles", "LimnText", "LimnGrammar", "LimnImage"]
    let sources = try modules.flatMap { try files(in: "Sources/" + $0, ending: "swift") }
    let open = try names(in: sources, after: #/public (?:final )?(?:struct|enum|class|protocol|actor|typealias) /#)
    #expect(!exported.isEmpty)
    #expect(open == exported)
    // And all of them are named above, like all of Limn's own.
    let own = try names(
      in: files(in: "Sources/Limn", ending: "swift"), after: #/public (?:final )?(?:struct|enum|class|protocol|actor) /#
    )
    let named = Set(types.map { String(reflecting: $0).split(separator: ".")[1] }.map(String.init))
    #expect(named == own.union(exported))
  }

  @Test("a model is opened, asked and talked to with the names of Limn alone")
  func asking() async throws {
    var load = LoadOptions()
    let precision: Precision = .exact, storage: KVType = .f32, policy: PreprocessPolicy = .trained
    (load.precision, load.kvType, load.preprocess) = (precision, storage, policy)
    let model = try await VisionLanguageModel.load(DemoModel.path(), options: load) { (progress: OpeningProgress) in
      precondition(OpeningStep.allCases.contains(progress.step) && (0...1).contains(progress.fraction))
    }
    let camp = ImageSource.path(root.appendingPathComponent("Examples/camp.png").path)
    let pixels: RGBImage = try camp.image()
    try await model.prepare([.pixels(pixels)])
    let parts: [ChatMessage.Part] = [.image(camp), .text("Is the boat on the left or on the right?")]
    var options = GenerationOptions()
    options.sampling.temperature = 0
    let answer: Answer = try await model.answer(Request([ChatMessage(.user, parts)], options: options))
    #expect(answer.finishReason == .stop && answer.usage.imageTokens > 0)

    var finished: Answer?
    for try await event in model.stream([ChatMessage(.user, parts)], options: options) {
      if case .finished(let answer) = event { finished = answer }
    }
    #expect(finished?.text == answer.text)
  }

  @Test("an error's parts are to be had with the names of Limn alone")
  func errorParts() async throws {
    let model = try await VisionLanguageModel.load(DemoModel.path())
    do throws(LimnError) {
      _ = try await model.ask("What is this?", images: [.data([1, 2, 3], name: "three bytes")])
      Issue.record("three bytes are no picture")
    } catch {
      let (kind, code): (LimnError.Kind, LimnError.Code) = (error.kind, error.code)
      #expect(kind == .badData && code == .imageUnreadable && code.rawValue == "image_unreadable")
      let what: LimnError.Text = error.what
      #expect(error.place == "three bytes" && !what.description(for: .json).isEmpty)
    }
    let remedy: LimnError.Text = "raise \(LimnError.Option.context)"
    #expect(remedy.description(for: .swift) == "raise LoadOptions.context")
  }

  /// What follows a pattern at the beginning of lines.
  private func names(in files: [String], after pattern: Regex<Substring>) throws -> Set<String> {
    var names: Set<String> = []
    for file in files {
      for line in try text(file).split(separator: "\n") {
        guard let match = line.prefixMatch(of: pattern) else { continue }
        names.insert(String(line[match.range.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }))
      }
    }
    return names
  }
}
