import ArgumentParser
import Foundation
import LimnCore
import LimnHub

struct Ps: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show which models a running server has open.",
    discussion: "A model is opened when it is first asked, and closed when nobody has asked it for a while.")

  @OptionGroup(title: "Server Options") var server: ServerArguments
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let models = try await server.running.openModels()
    if json {
      let list = models.map { model -> JSON in
        .object([
          "name": .string(model.name), "bytes": .integer(model.bytes), "context": .integer(model.context),
          "expires": .string(model.expires),
        ])
      }
      Terminal.print(JSON.array(list).serialised())
      return
    }
    if models.isEmpty { return Terminal.note("No model is open; one is opened when it is first asked.") }
    let rows = models.map {
      [$0.name, ConversionOptions.size($0.bytes), "\($0.context) tokens", Self.rest($0.expires)]
    }
    for line in Self.table([["MODEL", "MEMORY", "CONTEXT", "CLOSES"]] + rows) { Terminal.print(line) }
  }

  /// "in 12 minutes", "never".
  static func rest(_ expires: String, now: Date = Date()) -> String {
    guard let date = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(expires) else { return "" }
    let seconds = Int(date.timeIntervalSince(now).rounded())
    switch seconds {
    case ..<90: return "in \(max(seconds, 0)) seconds"
    case ..<5400: return "in \(seconds / 60) minutes"
    case ..<(48 * 3600): return "in \(seconds / 3600) hours"
    case ..<(365 * 86400): return "in \(seconds / 86400) days"
    default: return "never"
    }
  }

  private static func table(_ rows: [[String]]) -> [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = zip(row, widths).map { $0.padding(toLength: $1 + 2, withPad: " ", startingAt: 0) }
      return LimnError.printable(cells.joined().trimmingCharacters(in: .whitespaces))
    }
  }
}

struct Stop: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Close a model that a running server has open.",
    discussion: "Answers under way are finished. It is opened again when it is next asked. `limn ps` lists names.")

  @Argument(help: "The model's name.") var model: String
  @OptionGroup(title: "Server Options") var server: ServerArguments

  func run() async throws {
    let server = server.running
    let wasOpen = try await server.openModels().contains { $0.name == model }
    try await server.close(model)
    Terminal.note(LimnError.printable(wasOpen ? "\(model) is closed." : "\(model) was not open."))
  }
}
