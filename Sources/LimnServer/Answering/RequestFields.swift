import Foundation
import Limn
package import LimnCore

/// Typed access to the members of a request's JSON. null counts as absent, unknown members are ignored, and a value of a
/// wrong type or out of range is refused by its name.
package struct RequestFields: Sendable {
  let json: JSON
  /// The names that lead here: `messages[2].content`.
  private let path: String

  /// - Throws: a refusal if it is no object.
  package init(_ json: JSON, path: String = "") throws(Refusal) {
    guard json.object != nil else {
      throw Refusal(
        .invalidRequest, "\(path.isEmpty ? "the body" : path) must be a JSON object, and is \(json.kind)",
        param: path.isEmpty ? nil : path, code: "invalid_type")
    }
    self.json = json
    self.path = path
  }

  /// A member's whole name, for messages.
  func name(_ field: String) -> String { path.isEmpty ? field : path + "." + field }

  func value(_ field: String) -> JSON? { json.present(field) }

  func wrong(_ field: String, _ expected: String) -> Refusal {
    let found = json[field].map { value in
      let text = value.serialised()
      return text.utf8.count <= 60 ? text : value.kind
    }
    return .invalid(
      name(field), "\(name(field)) must be \(expected)" + (found.map { ", and is \(LimnError.printable($0))" } ?? ""),
      code: "invalid_type")
  }

  func string(_ field: String) throws(Refusal) -> String? {
    guard let value = value(field) else { return nil }
    guard let string = value.string else { throw wrong(field, "a string") }
    return string
  }

  func required(_ field: String) throws(Refusal) -> String {
    guard let value = try string(field) else { throw missing(field) }
    return value
  }

  func missing(_ field: String) -> Refusal {
    .invalid(name(field), "\(name(field)) is missing", code: "missing_required_parameter")
  }

  func bool(_ field: String) throws(Refusal) -> Bool? {
    guard let value = value(field) else { return nil }
    guard let bool = value.bool else { throw wrong(field, "true or false") }
    return bool
  }

  func int(_ field: String, in range: ClosedRange<Int>) throws(Refusal) -> Int? {
    guard let value = value(field) else { return nil }
    let number = value.int ?? value.double.flatMap { Int(exactly: $0) }
    guard let number, range.contains(number) else {
      let bounds =
        range.upperBound >= Int(Int32.max)
        ? "at least \(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
      throw wrong(field, "a whole number, \(bounds)")
    }
    return number
  }

  func double(_ field: String, in range: ClosedRange<Double>) throws(Refusal) -> Double? {
    guard let value = value(field) else { return nil }
    guard let number = value.double, number.isFinite, range.contains(number) else {
      throw wrong(field, "a number from \(Self.text(range.lowerBound)) to \(Self.text(range.upperBound))")
    }
    return number
  }

  private static func text(_ number: Double) -> String { number == number.rounded() ? "\(Int(number))" : "\(number)" }

  func object(_ field: String) throws(Refusal) -> RequestFields? {
    guard let value = value(field) else { return nil }
    guard value.object != nil else { throw wrong(field, "an object") }
    return try RequestFields(value, path: name(field))
  }

  /// The objects of a list.
  func objects(_ field: String) throws(Refusal) -> [RequestFields]? {
    guard let value = value(field) else { return nil }
    guard let items = value.array else { throw wrong(field, "a list") }
    return try items.enumerated().map { index, item throws(Refusal) in
      try RequestFields(item, path: "\(name(field))[\(index)]")
    }
  }

  /// One string, or a list of them.
  func strings(_ field: String, atMost limit: Int) throws(Refusal) -> [String]? {
    guard let value = value(field) else { return nil }
    if let string = value.string { return [string] }
    let strings = value.array?.compactMap(\.string)
    guard let strings, strings.count == value.array?.count else { throw wrong(field, "a string or a list of strings") }
    guard strings.count <= limit else { throw .invalid(name(field), "\(name(field)) has more than \(limit) items") }
    return strings
  }

  /// Who says a message, in the words of any API: what a tool answers is said to the model as by a user.
  func role() throws(Refusal) -> ChatMessage.Role {
    switch try required("role") {
    case "system", "developer": .system
    case "user", "tool", "function": .user
    case "assistant": .assistant
    default: throw wrong("role", "system, user, assistant or tool")
    }
  }
}
