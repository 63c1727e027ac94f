import LimnCore

extension SchemaCompiler {
  // MARK: Objects

  /// An object with the schema's properties, in their order. Others may be allowed, but none is written.
  mutating func object(_ schema: JSONObject, _ place: String) throws(LimnError) -> Int {
    var properties: [(name: String, value: JSON, place: String)] = []
    if let value = schema["properties"] {
      guard let object = value.object else { throw refusal("properties is an object, not \(value.kind)", place) }
      for (name, value) in object.members {
        properties.append((name, value, "\(place)/properties/\(name.pointerPart)"))
      }
    }
    let additional = schema["additionalProperties"] ?? .bool(true)
    var required: Set<ExactString> = []
    let known = Set(properties.map { ExactString($0.name) })
    for name in try schema["required"].map({ value throws(LimnError) in try strings(value, "\(place)/required") }) ?? []
    {
      if required.insert(ExactString(name)).inserted, !known.contains(ExactString(name)) {
        properties.append((name, additional, "\(place)/additionalProperties"))
      }
    }
    if properties.isEmpty {
      if additional == .bool(false) { return try bytes("{}") }
      return try object(values: try compile(additional, "\(place)/additionalProperties"))
    }
    // From the last property to the first: what may follow, where some property stands before or none does.
    let end = try bytes("}")
    var (first, later) = (end, end)
    for property in properties.reversed() {
      let name = try bytes(JSON.string(property.name).serialised(.compact))
      let member = try grammar.add(.sequence([name, try colon(), try compile(property.value, property.place)]))
      let isRequired = required.contains(ExactString(property.name))
      let withIt = try grammar.add(.sequence([member, later]))
      let withComma = try grammar.add(.sequence([try comma(), withIt]))
      first = isRequired ? withIt : try grammar.add(.choice([withIt, first]))
      later = isRequired ? withComma : try grammar.add(.choice([withComma, later]))
    }
    return try grammar.add(.sequence([try bytes("{"), first]))
  }

  /// An object with any keys.
  mutating func object(values: Int) throws(LimnError) -> Int {
    let member = try grammar.add(.sequence([try text(), try colon(), values]))
    let members = try grammar.add(.repeated(member, separator: try comma(), least: 0, most: nil))
    return try grammar.add(.sequence([try bytes("{"), members, try bytes("}")]))
  }

  // MARK: Arrays

  mutating func array(_ schema: JSONObject, _ place: String) throws(LimnError) -> Int {
    let least = try count("minItems", schema, place) ?? 0, most = try count("maxItems", schema, place)
    var first: [JSON] = []
    var rest = schema["items"] ?? .bool(true)
    if let value = schema["prefixItems"] {
      first = try list(value, "\(place)/prefixItems")
    } else if let list = rest.array {
      // How drafts before 2020 wrote it.
      (first, rest) = (list, .bool(true))
    }
    let item = try compile(rest, "\(place)/items")
    guard !first.isEmpty else { return try array(of: item, least: least, most: most) }
    guard least <= most ?? .max else { return try grammar.add(.choice([])) }
    first = Array(first.prefix(most ?? first.count))
    let following = try grammar.add(.sequence([try comma(), item]))
    var tail = try grammar.add(
      .repeated(
        following, separator: try empty(), least: max(0, least - first.count), most: most.map { $0 - first.count }))
    for (index, schema) in first.enumerated().reversed() {
      let value = try compile(schema, "\(place)/prefixItems/\(index)")
      let parts = index == 0 ? [value, tail] : [try comma(), value, tail]
      tail = try grammar.add(.sequence(parts))
      if index >= least { tail = try grammar.add(.choice([tail, try empty()])) }
    }
    return try grammar.add(.sequence([try bytes("["), tail, try bytes("]")]))
  }

  mutating func array(of item: Int, least: Int = 0, most: Int? = nil) throws(LimnError) -> Int {
    let items = try grammar.add(.repeated(item, separator: try comma(), least: least, most: most))
    return try grammar.add(.sequence([try bytes("["), items, try bytes("]")]))
  }
}

extension String {
  /// As a part of a JSON pointer.
  fileprivate var pointerPart: String { replacing("~", with: "~0").replacing("/", with: "~1") }
}

// MARK: One of several

extension [JSON] {
  /// Whether no value can fit two of these schemas: they are of different types, or objects that say in one required
  /// property which they are.
  func areExclusive(in root: JSON) -> Bool {
    let schemas = map { $0.resolved(in: root) }
    let types = schemas.map { schema in schema["type"]?.string ?? schema["const"].map(\.kind) }
    if types.allSatisfy({ $0 != nil }), Set(types).count == count,
      !(types.contains("number") && types.contains("integer"))
    {
      return true
    }
    let marks = schemas.map(\.marks)
    return indices.allSatisfy { a in
      indices.allSatisfy { b in
        a >= b
          || marks[a].contains { name, values in
            marks[b].contains { $0.name == name && !$0.values.contains { values.contains($0) } }
          }
      }
    }
  }
}

extension JSON {
  fileprivate func resolved(in root: JSON) -> JSON {
    guard let pointer = self["$ref"]?.string, pointer.hasPrefix("#/") else { return self }
    var target = root
    for part in pointer.dropFirst(2).split(separator: "/") { target = target[String(part)] ?? .null }
    return target
  }

  /// Required properties with few values.
  fileprivate var marks: [(name: String, values: [JSON])] {
    let required = (self["required"]?.array ?? []).compactMap(\.string)
    return required.compactMap { name in
      guard let property = self["properties"]?[name],
        let values = property["enum"]?.array ?? property["const"].map({ [$0] })
      else { return nil }
      return (name, values)
    }
  }
}
