import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor

extension GGUFMix: ExpressibleByArgument {
  /// By name, in upper or lower case.
  public init?(argument: String) { self.init(name: argument) }
  /// The names that completions offer.
  public static var allValueStrings: [String] { allCases.reversed().map(\.rawValue) }
}

struct Quantize: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a model smaller: a GGUF pair with weights of fewer bits.",
    discussion: """
      Q4_K_M is a good choice if memory is short: a third of the size, and
      answers change little. Q8_0 is hard to tell from the original. Below four
      bits answers suffer, most with Q2_K.

        limn quantize ~/models/llava-1.5-7b-hf --to Q4_K_M
      """)

  @Argument(
    help: ArgumentHelp("A model: a folder, or a .gguf file.", valueName: "model"), completion: .file())
  var reference: String

  @Option(
    help: ArgumentHelp("What most weights become.", valueName: "type"))
  var to: GGUFMix

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Where: a folder, or a file that ends in .gguf (mmproj goes beside it). Default: here, named after model and type.",
      valueName: "path"),
    completion: .file())
  var output = ""

  @Option(help: ArgumentHelp("Type of the vision tower and projector: f16 or Q8_0.", valueName: "type"))
  var vision = GGUFMix.f16

  @Flag(help: "List what each tensor lost: the error's root mean square, relative to the weights'.")
  var report = false

  @Option(
    help: ArgumentHelp(
      "With --report: a folder with questions.json ([{image, question, answer}]), asked before and after.",
      valueName: "folder"),
    completion: .directory)
  var scenes: String?

  @OptionGroup var options: ConversionOptions

  func validate() throws {
    guard vision == .f16 || vision == .q8_0 else { throw ValidationError("--vision must be f16 or Q8_0.") }
    guard scenes == nil || report else { throw ValidationError("--scenes goes with --report.") }
  }

  func run() async throws {
    let questions = try scenes.map(SceneQuestions.init)
    let location = options.source.location(of: reference)
    let conversion = try Conversion.gguf(location, format: to, vision: vision, output: output)
    let reports = try await options.run(conversion)
    guard report else { return }
    QuantizationReport.print(reports)
    guard let questions else { return }
    var loading = options.source.options
    let before = try await questions.right(reference, loading)
    (loading.projectorFile, loading.base) = (conversion.paths.dropFirst().first, nil)
    let after = try await questions.right(conversion.paths[0], loading)
    func share(_ count: Int) -> String {
      String(format: "%.1f %%", 100 * Double(count) / Double(max(1, questions.count)))
    }
    Terminal.print("right answers of \(questions.count): \(share(before)) before, \(share(after)) after")
  }
}

/// Prints what `--report` asks for.
enum QuantizationReport {
  static func print(_ reports: [Conversion.Report]) {
    let lossy = reports.filter { $0.loss.error > 0 }
    let width = lossy.map(\.name.count).max() ?? 0
    for report in lossy {
      let name = report.name.padding(toLength: width, withPad: " ", startingAt: 0)
      Terminal.print("\(name)  \(report.from) → \(report.to.rawValue)  \(percent(report.loss))")
    }
    guard let worst = lossy.max(by: { $0.loss.relative < $1.loss.relative }) else {
      return Terminal.print("no tensor lost anything")
    }
    var all = EncodingLoss()
    for report in lossy { all += report.loss }
    Terminal.print("all weights \(percent(all)); worst \(worst.name) \(percent(worst.loss))")
  }

  private static func percent(_ loss: EncodingLoss) -> String { String(format: "%.3f %%", 100 * loss.relative) }
}

/// Questions about images, with known answers.
struct SceneQuestions {
  private let rows: [(image: String, question: String, answer: String)]

  var count: Int { rows.count }

  /// - Parameter folder: contains questions.json, an array of {"image", "question", "answer"}, and the images.
  init(_ folder: String) throws {
    let file = (folder as NSString).appendingPathComponent("questions.json")
    rows = try (try JSON.parse(file: file).array ?? []).map { row in
      guard let image = row["image"]?.string, let question = row["question"]?.string,
        let answer = row["answer"]?.string
      else {
        throw LimnError.badData("a question is incomplete", in: file, expected: "image, question and answer")
      }
      return ((folder as NSString).appendingPathComponent(image), question, answer)
    }
    guard !rows.isEmpty else {
      throw LimnError.badData("there are no questions", in: file, expected: "an array of questions")
    }
  }

  /// How many of a model's answers are the expected ones.
  func right(_ reference: String, _ options: LoadOptions) async throws -> Int {
    let model = try await VisionLanguageModel.load(reference, options: options)
    defer { Terminal.endProgress() }
    var right = 0
    for (index, row) in rows.enumerated() {
      Terminal.progress("question \(index + 1) of \(rows.count)")
      let answer = try await model.ask(row.question, images: [.path(row.image)])
      if answer.text.trimmingCharacters(in: .whitespacesAndNewlines) == row.answer { right += 1 }
    }
    return right
  }
}
