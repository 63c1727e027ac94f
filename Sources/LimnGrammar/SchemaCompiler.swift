import Foundation
package import LimnCore

extension Grammar {
  /// The JSON texts that fit a schema: those with the properties in the schema's order, no white space but a space
  /// behind commas and colons, and numbers without exponents. All of what is allowed fits; not all of what fits is
  /// allowed.
  /// - Throws: bad data, with a pointer to the place, for a schema that is wrong, that nothing fits, or that uses a keyword
  ///   which would be ignored here, so that an answer might not fit.
  package init(schema: JSON) throws(LimnError) {
    var compiler = SchemaCompiler(schema)
    self = try compiler.compile()
  }

  /// Any JSON object.
  package static func object() throws(LimnError) -> Grammar {
    try Grammar(schema: .object(["type": .string("object")]))
  }
}

/// Turns a JSON schema into a grammar. https://json-schema.org/draft/2020-12
struct SchemaCompiler {
  private let schema: JSON
  var grammar = Grammar()
  /// Terms of schemas that `$ref` names, by pointer.
  private var references: [ExactString: Int] = [:]
  private var shared: [Shared: Int] = [:]
  private var depth = 0

  private enum Shared: Hashable { case comma, colon, empty, text, anything, anyObject, anyArray, number, integer }

  private static let depthLimit = 100

  init(_ schema: JSON) { self.schema = schema }

  mutating func compile() throws(LimnError) -> Grammar {
    let value = try compile(schema, "#")
    // Tokenizers whose words begin with a space put one in front of the first.
    let space = try grammar.add(.choice([try shared(.empty), try bytes(" ")]))
    let root = try grammar.add(.sequence([space, value]))
    guard grammar.finish(root: root) else { throw refusal("nothing fits the schema", "#") }
    return grammar
  }

  func refusal(_ what: String, _ place: String, remedy: LimnError.Text? = nil) -> LimnError {
    LimnError(.badData, code: .invalidSchema, LimnError.Text(what), in: "schema \(place)", remedy: remedy)
  }

  // MARK: Schemas

  /// Keywords that forbid values in ways which are not enforced. Unknown ones say nothing, as the standard has it.
  private static let unsupported: Set<String> = [
    "not", "if", "then", "else", "patternProperties", "propertyNames", "minProperties", "maxProperties",
    "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems",
    "additionalItems", "contains", "minContains", "maxContains", "uniqueItems", "multipleOf", "$dynamicRef",
    "$recursiveRef",
  ]
  private static let combinations: Set<String> = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const", "type"]
  /// The types that keywords are about; a keyword for another type than the value's says nothing.
  private static let keywords: [String: [String]] = [
    "properties": ["object"], "required": ["object"], "additionalProperties": ["object"],
    "items": ["array"], "prefixItems": ["array"], "minItems": ["array"], "maxItems": ["array"],
    "minLength": ["string"], "maxLength": ["string"], "pattern": ["string"],
    "minimum": ["number", "integer"], "maximum": ["number", "integer"],
    "exclusiveMinimum": ["number", "integer"], "exclusiveMaximum": ["number", "integer"],
  ]
  private static let types = ["object", "array", "string", "number", "integer", "boolean", "null"]

  mutating func compile(_ schema: JSON, _ place: String) throws(LimnError) -> Int {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthLimit else { throw refusal("the schema is nested too deeply", place) }
    switch schema {
    case .bool(true): return try anything()
    case .bool(false): return try grammar.add(.choice([]))
    case .object(let object): return try compile(object, place)
    default: throw refusal("a schema is an object or a boolean, not \(schema.kind)", place)
    }
  }

  private mutating func compile(_ schema: JSONObject, _ place: String) throws(LimnError) -> Int {
    let active = schema.members.filter { key, value in
      Self.keywords[key] != nil || Self.combinations.contains(key)
        || Self.unsupported.contains(key) && value != .bool(false)
    }.map(\.key)
    func alone(_ keyword: String, _ others: Set<String> = []) throws(LimnError) {
      if let other = active.first(where: { $0 != keyword && !others.contains($0) }) {
        throw refusal(
          "\(keyword) beside \(other) is not supported", place, remedy: "put \(other) into the schemas of \(keyword)")
      }
    }
    if let reference = schema["$ref"] {
      try alone("$ref")
      return try compile(reference: reference, place)
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
      guard let list = schema[keyword] else { continue }
      try alone(keyword, ["type"])
      return try compile(keyword, list, schema["type"], place)
    }
    let types = try types(schema, active, place)
    if let value = schema["enum"] ?? schema["const"] {
      let values = schema["enum"] == nil ? [value] : try list(value, "\(place)/enum")
      try alone(schema["enum"] == nil ? "const" : "enum", ["type"])
      let texts = values.filter { value in types?.contains { value.isOf(type: $0) } ?? true }
      return try choice(texts) { compiler, value throws(LimnError) in
        try compiler.constant(value)
      }
    }
    if let keyword = active.first(where: Self.unsupported.contains) {
      throw refusal(
        "the keyword \(keyword) is not supported", place,
        remedy: "leave it out; what an answer has to fit is enforced as it is written")
    }
    guard let types else { return try anything() }
    return try choice(types) { compiler, type throws(LimnError) in try compiler.compile(schema, type: type, place) }
  }

  /// The types that are allowed; nil: all. Without `type`, the keywords say what is meant.
  private func types(_ schema: JSONObject, _ active: [String], _ place: String) throws(LimnError) -> [String]? {
    guard let type = schema["type"] else {
      let meant = active.flatMap { Self.keywords[$0] ?? [] }
      return meant.isEmpty
        ? nil : Self.types.filter { meant.contains($0) && !($0 == "integer" && meant.contains("number")) }
    }
    let names = if let name = type.string { [name] } else { try strings(type, "\(place)/type") }
    for name in names where !Self.types.contains(name) {
      throw refusal("there is no type \"\(name)\"", "\(place)/type")
    }
    return names
  }

  private mutating func compile(_ schema: JSONObject, type: String, _ place: String) throws(LimnError) -> Int {
    switch type {
    case "object": return try object(schema, place)
    case "array": return try array(schema, place)
    case "string": return try string(schema, place)
    case "number", "integer":
      return try grammar.add(.number(try bounds(schema, isInteger: type == "integer", place)))
    case "boolean": return try grammar.add(.choice([try bytes("true"), try bytes("false")]))
    default: return try bytes("null")
    }
  }

  private mutating func compile(reference: JSON, _ place: String) throws(LimnError) -> Int {
    guard let pointer = reference.string, pointer.hasPrefix("#") else {
      throw refusal("$ref names a place in this schema, as in \"#/$defs/Name\"", place)
    }
    let key = ExactString(pointer)
    if let known = references[key] { return known }
    var target = schema
    for part in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: true) {
      let name = (String(part).removingPercentEncoding ?? String(part)).replacing("~1", with: "/").replacing(
        "~0", with: "~")
      guard
        let next = target[name]
          ?? target.array.flatMap({ list in Int(name).flatMap { list.indices.contains($0) ? list[$0] : nil } })
      else { throw refusal("$ref names \(pointer), which is not there", place) }
      target = next
    }
    let index = try grammar.reserve()
    references[key] = index
    grammar.define(index, .choice([try compile(target, pointer)]))
    return index
  }

  private mutating func compile(
    _ keyword: String, _ alternatives: JSON, _ type: JSON?, _ place: String
  ) throws(LimnError) -> Int {
    let schemas = try list(alternatives, "\(place)/\(keyword)")
    guard !schemas.isEmpty else { throw refusal("\(keyword) is empty", place) }
    if let type, type.string == nil || schemas.contains(where: { $0["type"]?.string == nil }) {
      throw refusal("type beside \(keyword) is not supported", place, remedy: "put type into the schemas of \(keyword)")
    }
    if keyword == "allOf", schemas.count > 1 {
      throw refusal("allOf of several schemas is not supported", place, remedy: "merge them into one")
    }
    if keyword == "oneOf", !schemas.areExclusive(in: schema) {
      throw refusal(
        "oneOf of schemas that one value may fit together is not supported", place, remedy: "use anyOf")
    }
    let kept = type.flatMap(\.string).map { name in schemas.filter { $0["type"] == .string(name) } } ?? schemas
    var terms: [Int] = []
    for (index, schema) in kept.enumerated() { terms.append(try compile(schema, "\(place)/\(keyword)/\(index)")) }
    return try grammar.add(.choice(terms))
  }

  // MARK: Parts

  mutating func bytes(_ text: String) throws(LimnError) -> Int { try grammar.add(.bytes(Array(text.utf8))) }

  /// A value, which may have spaces behind its commas and colons.
  private mutating func constant(_ value: JSON) throws(LimnError) -> Int {
    var parts: [Int] = []
    switch value {
    case .array(let values) where !values.isEmpty:
      for value in values { parts += [try parts.isEmpty ? bytes("[") : comma(), try constant(value)] }
      parts.append(try bytes("]"))
    case .object(let object) where object.count > 0:
      for (key, value) in object.members {
        parts.append(try parts.isEmpty ? bytes("{") : comma())
        parts += [try bytes(JSON.string(key).serialised(.compact)), try colon(), try constant(value)]
      }
      parts.append(try bytes("}"))
    default: return try bytes(value.serialised(.compact))
    }
    return try grammar.add(.sequence(parts))
  }

  private mutating func choice<Element>(
    _ elements: [Element], _ make: (inout Self, Element) throws(LimnError) -> Int
  ) throws(LimnError) -> Int {
    var terms: [Int] = []
    for element in elements { terms.append(try make(&self, element)) }
    return terms.count == 1 ? terms[0] : try grammar.add(.choice(terms))
  }

  private mutating func shared(_ kind: Shared) throws(LimnError) -> Int {
    if let known = shared[kind] { return known }
    let index = try grammar.reserve()
    shared[kind] = index
    let term: Grammar.Term =
      switch kind {
      case .comma: .choice([try bytes(","), try bytes(", ")])
      case .colon: .choice([try bytes(":"), try bytes(": ")])
      case .empty: .bytes([])
      case .text: .string(TextAutomaton())
      case .number: .number(NumberBounds(isInteger: false))
      case .integer: .number(NumberBounds(isInteger: true))
      case .anyObject: .choice([try object(values: try anything())])
      case .anyArray: .choice([try array(of: try anything())])
      case .anything:
        .choice([
          try shared(.text), try shared(.number), try shared(.anyObject), try shared(.anyArray), try bytes("true"),
          try bytes("false"), try bytes("null"),
        ])
      }
    grammar.define(index, term)
    return index
  }

  private mutating func anything() throws(LimnError) -> Int { try shared(.anything) }
  mutating func comma() throws(LimnError) -> Int { try shared(.comma) }
  mutating func colon() throws(LimnError) -> Int { try shared(.colon) }
  mutating func empty() throws(LimnError) -> Int { try shared(.empty) }
  mutating func text() throws(LimnError) -> Int { try shared(.text) }

  private mutating func string(_ schema: JSONObject, _ place: String) throws(LimnError) -> Int {
    let least = try count("minLength", schema, place) ?? 0, most = try count("maxLength", schema, place)
    guard let pattern = schema["pattern"] else {
      if least == 0, most == nil { return try text() }
      return try grammar.add(.string(TextAutomaton(least: least, most: most)))
    }
    guard let pattern = pattern.string else { throw refusal("pattern is a string", place) }
    do {
      return try grammar.add(.string(try TextAutomaton(pattern: pattern, least: least, most: most)))
    } catch {
      throw LimnError(.badData, code: .invalidSchema, error.what, in: "schema \(place)/pattern", remedy: error.remedy)
    }
  }

  private func bounds(_ schema: JSONObject, isInteger: Bool, _ place: String) throws(LimnError) -> NumberBounds {
    func bound(_ keyword: String, _ exclusive: String, _ isTighter: (Double, Double) -> Bool) throws(LimnError)
      -> NumberBounds.Bound?
    {
      func value(_ keyword: String) throws(LimnError) -> Double? {
        guard let value = schema[keyword] else { return nil }
        guard let number = value.double, number.isFinite else { throw refusal("\(keyword) is a number", place) }
        return number
      }
      let plain = try value(keyword).map { NumberBounds.Bound(value: $0) }
      guard let strict = try value(exclusive) else { return plain }
      if let plain, isTighter(plain.value, strict) { return plain }
      return NumberBounds.Bound(value: strict, isExclusive: true)
    }
    return NumberBounds(
      isInteger: isInteger, least: try bound("minimum", "exclusiveMinimum", >),
      most: try bound("maximum", "exclusiveMaximum", <))
  }

  func count(_ keyword: String, _ schema: JSONObject, _ place: String) throws(LimnError) -> Int? {
    guard let value = schema[keyword] else { return nil }
    guard let count = value.double, count >= 0, count == count.rounded() else {
      throw refusal("\(keyword) is a number of at least 0", place)
    }
    guard count <= 1e6 else {
      if keyword.hasPrefix("max") { return nil }
      throw refusal("\(keyword) is too large", place)
    }
    return Int(count)
  }

  func list(_ value: JSON, _ place: String) throws(LimnError) -> [JSON] {
    guard let list = value.array else { throw refusal("a list is needed, not \(value.kind)", place) }
    return list
  }

  func strings(_ value: JSON, _ place: String) throws(LimnError) -> [String] {
    var result: [String] = []
    for element in try list(value, place) {
      guard let string = element.string else { throw refusal("strings are needed, not \(element.kind)", place) }
      result.append(string)
    }
    return result
  }
}

extension JSON {
  /// Whether the value is of a JSON schema's type.
  fileprivate func isOf(type: String) -> Bool {
    switch self {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .integer: type == "integer" || type == "number"
    case .number(let value): type == "number" || type == "integer" && value == value.rounded()
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    }
  }
}
