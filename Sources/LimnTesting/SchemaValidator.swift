package import LimnCore

/// Whether a value fits a schema: what answers are checked with. It knows the keywords that limn enforces, and is itself
/// checked with jsonschema's verdicts.
package struct SchemaValidator {
  private let root: JSON

  package init(root: JSON) { self.root = root }

  package func fits(_ value: JSON, _ schema: JSON) -> Bool { fits(value, schema, references: 0) }

  /// - Parameter references: how many led here from one to the next; nothing fits a schema that only names itself.
  private func fits(_ value: JSON, _ schema: JSON, references: Int) -> Bool {
    if references > 20 { return false }
    guard let object = schema.object else { return schema == .bool(true) }
    if let pointer = object["$ref"]?.string {
      let name = pointer.split(separator: "/").last.map(String.init) ?? ""
      return fits(value, pointer == "#" ? root : root["$defs"]?[name] ?? .null, references: references + 1)
    }
    if let all = object["anyOf"]?.array { return all.contains { fits(value, $0, references: references + 1) } }
    if let values = object["enum"]?.array { return values.contains { same($0, value) } }
    if let constant = object["const"] { return same(constant, value) }
    let types = object["type"]?.string.map { [$0] } ?? object["type"]?.array?.compactMap(\.string)
    if let types, !types.contains(where: { isOf($0, value) }) { return false }
    switch value {
    case .string(let text): return fits(text, object)
    case .integer, .number: return fits(value.double!, object)
    case .array(let items): return fits(items, object)
    case .object(let members): return fits(members, object)
    default: return true
    }
  }

  private func same(_ a: JSON, _ b: JSON) -> Bool {
    if let a = a.double, let b = b.double { return a == b }
    return a == b
  }

  private func isOf(_ type: String, _ value: JSON) -> Bool {
    switch value {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .integer: type == "integer" || type == "number"
    case .number(let number): type == "number" || type == "integer" && number == number.rounded()
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    }
  }

  private func fits(_ text: String, _ schema: JSONObject) -> Bool {
    let length = text.unicodeScalars.count
    if let least = schema["minLength"]?.int, length < least { return false }
    if let most = schema["maxLength"]?.int, length > most { return false }
    // The fixtures' patterns mean the same to Swift.
    guard let pattern = schema["pattern"]?.string else { return true }
    guard let regex = try? Regex(pattern) else { return false }
    return text.firstMatch(of: regex.matchingSemantics(.unicodeScalar).asciiOnlyDigits().asciiOnlyWordCharacters())
      != nil
  }

  private func fits(_ number: Double, _ schema: JSONObject) -> Bool {
    if let bound = schema["minimum"]?.double, number < bound { return false }
    if let bound = schema["maximum"]?.double, number > bound { return false }
    if let bound = schema["exclusiveMinimum"]?.double, number <= bound { return false }
    if let bound = schema["exclusiveMaximum"]?.double, number >= bound { return false }
    return true
  }

  private func fits(_ items: [JSON], _ schema: JSONObject) -> Bool {
    if let least = schema["minItems"]?.int, items.count < least { return false }
    if let most = schema["maxItems"]?.int, items.count > most { return false }
    let first = schema["prefixItems"]?.array ?? []
    return items.enumerated().allSatisfy { index, item in
      fits(item, index < first.count ? first[index] : schema["items"] ?? .bool(true))
    }
  }

  private func fits(_ members: JSONObject, _ schema: JSONObject) -> Bool {
    let required = schema["required"]?.array?.compactMap(\.string) ?? []
    guard required.allSatisfy({ members[$0] != nil }) else { return false }
    return members.members.allSatisfy { key, value in
      fits(value, schema["properties"]?[key] ?? schema["additionalProperties"] ?? .bool(true))
    }
  }
}
