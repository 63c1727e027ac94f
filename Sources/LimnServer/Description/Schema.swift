import LimnCore

/// A JSON schema, together with the named ones that it refers to: so no reference can lead nowhere.
struct Schema: Sendable {
  private(set) var json: JSONObject
  private(set) var named: [String: JSON] = [:]

  private init(_ json: JSONObject, of parts: [Schema] = []) {
    self.json = json
    for part in parts { named.merge(part.named) { $1 } }
  }

  static let anything = Schema([:])
  /// A JSON schema as a value.
  static let jsonSchema = Schema.any(.object([:]), .boolean)
  static let null = Schema(["type": "null"])
  static let string = Schema(["type": "string"])
  /// A string that is not empty.
  static let text = Schema(["type": "string", "minLength": .integer(1)])
  static let boolean = Schema(["type": "boolean"])
  /// What can only be turned off.
  static let off = Schema(["const": .bool(false)])
  static let number = Schema(["type": "number"])
  /// Any that fits into 64 bits.
  static let integer = Schema(["type": "integer", "format": "int64"])
  static let count = integer(from: 0)

  static func string(_ values: String...) -> Schema { string(values) }

  static func string(_ values: [String]) -> Schema {
    Schema(["type": "string", "enum": .array(values.map(JSON.string))])
  }

  static func string(matching pattern: String) -> Schema {
    Schema(["type": "string", "pattern": .string(pattern)])
  }

  static func integer(_ range: ClosedRange<Int>) -> Schema {
    Schema(["type": "integer", "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound)])
  }

  static func integer(from least: Int) -> Schema { Schema(["type": "integer", "minimum": .integer(least)]) }

  static func number(_ range: ClosedRange<Double>) -> Schema {
    Schema(["type": "number", "minimum": .number(range.lowerBound), "maximum": .number(range.upperBound)])
  }

  static func number(atMost most: Double) -> Schema { Schema(["type": "number", "maximum": .number(most)]) }

  static func list(_ item: Schema, _ count: ClosedRange<Int> = 0 ... .max) -> Schema {
    var json: JSONObject = ["type": "array", "items": .object(item.json)]
    if count.lowerBound > 0 { json.set("minItems", to: .integer(count.lowerBound)) }
    if count.upperBound < .max { json.set("maxItems", to: .integer(count.upperBound)) }
    return Schema(json, of: [item])
  }

  static func any(_ choices: Schema...) -> Schema {
    Schema(["anyOf": .array(choices.map { .object($0.json) })], of: choices)
  }

  /// An object; further members are allowed.
  /// - Parameter optional: members that may be left out, or be null.
  static func object(_ members: Members, optional: Members = [:]) -> Schema {
    var properties = JSONObject()
    for (name, schema) in members.list { properties.set(name, to: .object(schema.json)) }
    for (name, schema) in optional.list { properties.set(name, to: .object(schema.orNull.json)) }
    return Schema(
      [
        "type": "object", "properties": .object(properties), "required": .array(members.list.map { .string($0.name) }),
      ], of: (members.list + optional.list).map(\.schema))
  }

  /// An object whose members are all alike.
  static func map(_ value: Schema, names pattern: String) -> Schema {
    let json: JSONObject = [
      "type": "object", "propertyNames": .object(["pattern": .string(pattern)]),
      "additionalProperties": .object(value.json),
    ]
    return Schema(json, of: [value])
  }

  var orNull: Schema { .any(self, .null) }

  func described(_ text: String, examples: [JSON] = []) -> Schema {
    var schema = self
    schema.json.set("description", to: .string(text))
    if !examples.isEmpty { schema.json.set("examples", to: .array(examples)) }
    return schema
  }

  /// A reference to this schema, by a name that no other schema has.
  func named(_ name: String) -> Schema {
    var reference = Schema(["$ref": .string("#/components/schemas/\(name)")], of: [self])
    reference.named[name] = .object(json)
    return reference
  }

  /// The members of an object, in their order.
  struct Members: Sendable, ExpressibleByDictionaryLiteral {
    var list: [(name: String, schema: Schema)]

    init(dictionaryLiteral members: (String, Schema)...) { list = members.map { ($0, $1) } }

    static func + (a: Members, b: Members) -> Members {
      var sum = a
      sum.list += b.list
      return sum
    }
  }
}
