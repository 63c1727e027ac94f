import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnCore

struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a model is, how limn will use it, and any problems with it.",
    discussion: "A model that does not open is shown as far as it can be read; the exit code is the one of ask.")

  @Argument(
    help: "A model: a folder, or a .gguf file. Default: $LIMN_MODEL, else the demo model.", completion: .file())
  var reference: String?

  @OptionGroup var load: LoadArguments
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    if reference != nil, load.model != nil {
      throw ValidationError("Name one model: limn show <model>, or limn show --model <model>.")
    }
  }

  func run() async throws {
    let report = try await report()
    if json {
      Terminal.print(JSON.object(try Self.object(report)).serialised(.init(indent: 2)))
    } else {
      Self.lines(report).forEach(Terminal.print)
    }
    if let problem = report.problem { throw problem }
  }

  private func report() async throws -> ModelReport {
    let options = load.options
    defer { Terminal.endProgress() }
    return try await ModelReport(try reference ?? load.reference, options: options) {
      Terminal.progress($0.line(quantizes: options.quantization != nil))
    }
  }

  private static func lines(_ report: ModelReport) -> [String] {
    let width = (report.facts.map(\.title.count).max() ?? 0) + 2
    var lines = report.facts.map { $0.title.padding(toLength: width, withPad: " ", startingAt: 0) + $0.value }
    for finding in report.findings {
      lines += ["", "\(finding.level.rawValue): \(finding.what)", "   → \(finding.remedy.description(for: .command))"]
    }
    return lines.map(LimnError.printable)
  }

  private static func object(_ report: ModelReport) throws -> JSONObject {
    var object = JSONObject()
    for fact in report.facts { object.set(fact.key, to: .string(fact.value)) }
    object.set(
      "findings",
      to: .array(
        report.findings.map { finding in
          .object([
            "level": .string(finding.level.rawValue), "about": .string(finding.about),
            "what": .string(finding.what), "remedy": .string(finding.remedy.description(for: .command)),
          ])
        }))
    object.set("problem", to: report.problem.map { .string($0.description(for: .command)) } ?? .null)
    object.set("summary", to: try JSON(encoding: report.summary))
    return object
  }
}

extension JSON {
  /// A value of the library, its keys in snake case as all of limn's are.
  init(encoding value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    self = try JSON.parse(String(decoding: try encoder.encode(value), as: UTF8.self), place: "summary")
  }
}
