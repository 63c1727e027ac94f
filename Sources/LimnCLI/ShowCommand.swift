import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnCore

struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a model is, whether and how fast it runs here, and any problems with it.",
    discussion: "A model that does not open is shown as far as it can be read; the exit code is the one of ask.")

  @Argument(
    help: ArgumentHelp(
      "A model: a folder, or a .gguf file. Default: $LIMN_MODEL, else the demo model.", valueName: "model"),
    completion: .file())
  var reference: String?

  @OptionGroup(title: "Model options") var load: LoadArguments
  @Flag(name: .shortAndLong, help: "Print every detail, and how limn will use the model.") var verbose = false
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var quiet: Quietness

  func validate() throws {
    if reference != nil, load.model != nil {
      throw ValidationError("Name one model: limn show <model>, or limn show --model <model>.")
    }
  }

  func run() async throws {
    let report = try await report()
    // One that does not open is not used here.
    let forecast = try report.demand.map { demand throws(LimnError) in
      try Forecast(demand, report.summary, load.options)
    }
    if json {
      Terminal.print(JSON.object(try Self.object(report, forecast)).serialised(.init(indent: 2)))
    } else {
      let lines = verbose || report.problem != nil ? Self.details(report) : Self.overview(report, forecast)
      (lines + Self.findings(report, all: verbose || report.problem != nil)).map(LimnError.printable)
        .forEach(Terminal.print)
      if !verbose, report.problem == nil, Terminal.showsErrors { Terminal.note("--verbose shows every detail") }
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

  // MARK: For people

  private static func details(_ report: ModelReport) -> [String] {
    table(report.facts.map { ($0.title, $0.value) })
  }

  /// What it is, whether it runs here, and how fast.
  private static func overview(_ report: ModelReport, _ forecast: Forecast?) -> [String] {
    func fact(_ key: String) -> String? { report.facts.first { $0.key == key }?.value }
    let summary = report.summary
    let sees =
      summary.vision.map {
        "looks at pictures (\($0.family)) and answers questions (\(summary.language?.architecture ?? ""))"
      }
      ?? "answers questions, but cannot look at pictures (\(summary.language?.architecture ?? ""))"
    var rows = [("model", summary.name), ("location", fact("location") ?? ""), ("what it does", sees)]
    if let parts = fact("put_together_with") { rows.append(("put together with", parts)) }
    if let parameters = fact("parameters") { rows.append(("parameters", parameters)) }
    if let files = fact("files") {
      rows.append(("on disk", files + (summary.types.first.map { ", mostly \($0.type)" } ?? "")))
    }
    if let forecast { rows += forecast.rows(context: summary.context?.used ?? 0) }
    return table(rows)
  }

  private static func table(_ rows: [(title: String, value: String)]) -> [String] {
    let width = (rows.map(\.title.count).max() ?? 0) + 2
    return rows.map { $0.title.padding(toLength: width, withPad: " ", startingAt: 0) + $0.value }
  }

  private static func findings(_ report: ModelReport, all: Bool) -> [String] {
    report.findings.filter { all || $0.level == .warning }.flatMap { finding in
      ["", "\(finding.level.rawValue): \(finding.what)", "   → \(finding.remedy.description(for: .command))"]
    }
  }

  // MARK: For programs

  private static func object(_ report: ModelReport, _ forecast: Forecast?) throws -> JSONObject {
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
    object.set("here", to: forecast?.json ?? .null)
    return object
  }
}

extension Forecast {
  fileprivate func rows(context: Int) -> [(String, String)] {
    let memory = "\(Self.gigabytes(needed)) of memory with a full context of \(context) tokens"
    let verdict =
      self.memory == 0
      ? "needs \(memory)"
      : fits
        ? "yes: it needs \(memory), and there are \(Self.gigabytes(self.memory))"
        : "hardly: it needs \(memory), but there are only \(Self.gigabytes(self.memory)); a smaller --context helps, or "
          + "limn quantize"
    let first = firstWord < 1 ? "less than a second" : "about \(Int(firstWord.rounded())) s"
    let pace =
      tokensPerSecond >= 100
      ? "more than 100" : "about \(tokensPerSecond >= 10 ? tokensPerSecond.rounded() : tokensPerSecond.rounded(to: 1))"
    return [
      ("runs here", verdict),
      ("speed here", "roughly: \(first) to the first word about a picture, then \(pace) tokens per second"),
    ]
  }

  fileprivate var json: JSON {
    .object([
      "memory_bytes": .integer(memory), "needed_bytes": .integer(needed), "fits": .bool(fits),
      "first_word_seconds": .number(firstWord.rounded(to: 6)),
      "tokens_per_second": .number(tokensPerSecond.rounded(to: 2)),
    ])
  }

  private static func gigabytes(_ bytes: Int) -> String {
    bytes >= 1 << 30
      ? String(format: "%.1f GB", Double(bytes) / Double(1 << 30)) : "\(max(1, bytes >> 20)) MB"
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
