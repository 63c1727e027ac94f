/// A JSON value. Objects keep the order of their members. Strings are compared byte for byte, never by canonical
/// equivalence, because a vocabulary may contain both "é" and "e" with a combining accent.
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// A number without fraction and exponent that fits in Int; larger ones become `number`.
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  case object(JSONObject)

  package var isNull: Bool { if case .null = self { true } else { false } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var int: Int? { if case .integer(let value) = self { value } else { nil } }
  /// Also for integers.
  package var double: Double? {
    switch self {
    case .number(let value): value
    case .integer(let value): Double(value)
    default: nil
    }
  }
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  package var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
  package var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

  /// The member of an object with this key; nil if there is none, or if this is not an object.
  package subscript(_ key: String) -> JSON? { object?[key] }

  /// The same, but nil if the member is null.
  package func present(_ key: String) -> JSON? {
    guard let value = self[key], !value.isNull else { return nil }
    return value
  }

  /// The type in words, for messages.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .integer: "an integer"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }

  package static func == (a: JSON, b: JSON) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.integer(let a), .integer(let b)): a == b
    case (.number(let a), .number(let b)): a == b
    case (.string(let a), .string(let b)): ExactString(a) == ExactString(b)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): a == b
    default: false
    }
  }
}

extension JSON: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) { self = .string(text) }
}

/// The members of a JSON object in their order, found by key in constant time.
package struct JSONObject: Sendable, Equatable, ExpressibleByDictionaryLiteral {
  package private(set) var members: [(key: String, value: JSON)] = []
  /// Where each key is in `members`; kept only for objects too large for a linear search.
  private var places: [ExactString: Int] = [:]

  private static let searchable = 8

  package init() {}

  package init(dictionaryLiteral elements: (String, JSON)...) {
    for (key, value) in elements { set(key, to: value) }
  }

  package var count: Int { members.count }
  package var keys: [String] { members.map(\.key) }

  package subscript(_ key: String) -> JSON? { place(of: key).map { members[$0].value } }

  /// Adds a member, or replaces the value of an existing key, which keeps its place (as in Python).
  /// - Returns: whether the key already existed.
  @discardableResult
  package mutating func set(_ key: String, to value: JSON) -> Bool {
    if let place = place(of: key) {
      members[place].value = value
      return true
    }
    members.append((key, value))
    if members.count > Self.searchable {
      if places.isEmpty {
        for (place, member) in members.enumerated() { places[ExactString(member.key)] = place }
      } else {
        places[ExactString(key)] = members.count - 1
      }
    }
    return false
  }

  private func place(of key: String) -> Int? {
    if members.count > Self.searchable { return places[ExactString(key)] }
    let wanted = ExactString(key)
    return members.firstIndex { ExactString($0.key) == wanted }
  }

  /// Whether both have the same members, in any order.
  package static func == (a: JSONObject, b: JSONObject) -> Bool {
    a.count == b.count && a.members.allSatisfy { b[$0.key] == $0.value }
  }
}
