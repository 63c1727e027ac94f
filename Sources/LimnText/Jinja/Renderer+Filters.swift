import LimnFiles
import LimnCore

// Filters on single values, and tests. Filters on sequences are in `Renderer+Sequences.swift`.

extension Renderer {
  static let scalarFilters: Set<String> = [
    "abs", "attr", "capitalize", "center", "count", "d", "default", "e", "escape", "float",
    "forceescape",
    "format", "indent", "int", "length", "lower", "replace", "round", "safe", "string", "title",
    "tojson",
    "trim", "truncate", "upper", "wordcount",
  ]

  func filter(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    if Self.sequenceFilters.contains(name) { return try sequenceFilter(name, value, call) }
    guard Self.scalarFilters.contains(name) else { throw fail("there is no filter '\(name)'") }
    switch name {
    case "d", "default":
      let arguments = try call.bound(to: "default_value", "boolean", of: name)
      let isMissing = value.isUndefined || (arguments[1]?.isTrue ?? false) && !value.isTrue
      return isMissing ? arguments[0] ?? .string("") : value
    case "count", "length":
      _ = try call.bound(of: name)
      return .int(try length(of: value))
    case "tojson": return .string(try json(value, call))
    case "abs", "int", "float", "round": return try numberFilter(name, value, call)
    case "attr":
      guard let attribute = try call.bound(to: "name", of: name)[0]?.text else {
        throw fail("'attr' needs a name")
      }
      if case .dict(let mapping) = value, mapping[attribute] != nil, !Self.dictMethods.contains(attribute) {
        return .undefined("a dict has no attribute '\(attribute)'")
      }
      return try self.attribute(attribute, of: value)
    default: return try textFilter(name, value, call)
    }
  }

  private func textFilter(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    let text = try printed(value)
    try pay(text.utf8.count)
    func string(_ text: String) -> Value { like(value, text) }
    switch name {
    case "trim":
      return string(text.stripped(try optionalText(try call.bound(to: "chars", of: name)[0], of: name)))
    case "replace":
      let arguments = try call.bound(to: "old", "new", "count", of: name)
      guard let old = arguments[0], let new = arguments[1] else { throw fail("'replace' needs two strings") }
      let count = try optionalInteger(arguments[2], of: name)
      return .string(try replaced(text, try printed(old), try printed(new), count: count))
    case "indent": return try indented(value, call)
    case "center":
      let width = try optionalInteger(try call.bound(to: "width", of: name)[0], of: name) ?? 80
      try pay(max(0, width))
      return string(centred(text, width))
    case "truncate": return try truncated(value, call)
    case "format":
      guard call.positional.isEmpty || call.named.isEmpty else {
        throw fail("'format' takes arguments with or without names")
      }
      var mapping = Mapping()
      for (key, value) in call.named { mapping.set(.string(key), to: value) }
      return string(try percentFormat(text, mapping.count > 0 ? .dict(mapping) : .tuple(call.positional)))
    default: break
    }
    _ = try call.bound(of: name)
    switch name {
    case "upper": return string(text.uppercased())
    case "lower": return string(text.lowercased())
    case "capitalize": return string(text.capitalised)
    case "title": return .string(titled(text))
    case "string": return value.text == nil ? .string(text) : value
    case "safe": return .markup(text)
    case "e", "escape", "forceescape":
      if case .markup = value, name != "forceescape" { return value }
      try pay(text.utf8.count, times: 6)
      return .markup(text.htmlEscaped)
    default: return .int(text.unicodeScalars.split { !isWord($0) }.count)
    }
  }

  private func isWord(_ scalar: Unicode.Scalar) -> Bool {
    scalar == "_" || scalar.isLetter || scalar.properties.numericType != nil
  }

  /// Jinja's own `title`: words begin after whitespace, hyphens and opening brackets.
  private func titled(_ text: String) -> String {
    var result = ""
    var isStart = true
    for scalar in text.unicodeScalars {
      result += isStart ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
      isStart = scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar)
    }
    return result
  }

  private func json(_ value: Value, _ call: Call) throws(LimnError) -> String {
    let arguments = try call.bound(to: "ensure_ascii", "indent", "separators", "sort_keys", of: "tojson")
    var format = JSON.Format()
    format.escapesNonASCII = arguments[0]?.isTrue ?? false
    if let indent = try optionalInteger(arguments[1], of: "tojson") {
      guard indent <= 1000 else { throw fail("'tojson' indents by no more than 1000 blanks") }
      format.indent = max(0, indent)
    }
    if let separators = arguments[2], !separators.isNone {
      let separators = try elements(of: separators)
      guard separators.count == 2 else { throw fail("'tojson' takes two separators") }
      format.itemSeparator = try requiredText(separators[0], of: "tojson")
      format.keySeparator = try requiredText(separators[1], of: "tojson")
    }
    format.sortsKeys = arguments[3]?.isTrue ?? false
    try pay(value.weight, times: 6 + value.depth * (format.indent ?? 0))
    return try value.json().serialised(format)
  }

  private func indented(_ value: Value, _ call: Call) throws(LimnError) -> Value {
    let text = try requiredText(value, of: "indent")
    let arguments = try call.bound(to: "width", "first", "blank", of: "indent")
    let width = arguments[0]?.text
    let count = width == nil ? max(0, try optionalInteger(arguments[0], of: "indent") ?? 4) : 0
    var lines = (text + "\n").lines()
    try pay(lines.count + 1, times: width?.utf8.count ?? count)
    let indention = width ?? String(repeating: " ", count: count)
    let (first, blank) = (arguments[1]?.isTrue ?? false, arguments[2]?.isTrue ?? false)
    for index in lines.indices.dropFirst() where blank || !lines[index].isEmpty {
      lines[index] = indention + lines[index]
    }
    return like(value, (first ? indention : "") + lines.joined(separator: "\n"))
  }

  private func truncated(_ value: Value, _ call: Call) throws(LimnError) -> Value {
    let arguments = try call.bound(to: "length", "killwords", "end", "leeway", of: "truncate")
    let length = try optionalInteger(arguments[0], of: "truncate") ?? 255
    let end = try optionalText(arguments[2], of: "truncate") ?? "..."
    let leeway = try optionalInteger(arguments[3], of: "truncate") ?? 5
    guard length >= end.scalarCount, leeway >= 0 else { throw fail("'truncate' shorter than its end mark") }
    // Any value with a length is returned unchanged if it is short enough.
    if try self.length(of: value) - leeway <= length { return value }
    let scalars = Array(try requiredText(value, of: "truncate").unicodeScalars)
    var kept = scalars.prefix(length - end.scalarCount)
    if !(arguments[1]?.isTrue ?? false), let blank = kept.lastIndex(of: " ") { kept = kept[..<blank] }
    return like(value, String(scalars: kept) + end)
  }

  // MARK: Numbers

  /// `float(text)`; nil where Python raises `ValueError`.
  func pythonFloat(_ text: String) -> Double? {
    let trimmed = text.stripped().lowercased()
    let unsigned =
      trimmed.starts(withText: "-") || trimmed.starts(withText: "+") ? String(trimmed.dropFirst()) : trimmed
    if ["inf", "infinity", "nan"].contains(unsigned) {
      let value = unsigned == "nan" ? Double.nan : .infinity
      return trimmed.starts(withText: "-") ? -value : value
    }
    guard let first = unsigned.utf8.first, first == UInt8(ascii: ".") || (0x30...0x39).contains(first),
      !unsigned.contains("x")
    else { return nil }
    guard let plain = withoutUnderscores(unsigned), let value = Double(plain) else { return nil }
    return trimmed.starts(withText: "-") ? -value : value
  }

  /// Removes `_`, which Python allows only between digits; nil if one stands elsewhere.
  private func withoutUnderscores(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "_") {
      func isDigit(_ index: Int) -> Bool {
        bytes.indices.contains(index) && Character(Unicode.Scalar(bytes[index])).isHexDigit
      }
      guard isDigit(index - 1), isDigit(index + 1) else { return nil }
    }
    return String(decoding: bytes.filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
  }

  private func pythonInteger(_ text: String, base: Int) -> Int? {
    var digits = text.stripped().lowercased()
    let isNegative = digits.starts(withText: "-")
    if isNegative || digits.starts(withText: "+") { digits.removeFirst() }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)]
    where base == radix && digits.starts(withText: prefix) {
      digits.removeFirst(2)
    }
    guard (2...36).contains(base), let first = digits.utf8.first, first != UInt8(ascii: "-"),
      first != UInt8(ascii: "+"),
      let plain = withoutUnderscores(digits)
    else { return nil }
    return Int((isNegative ? "-" : "") + plain, radix: base)
  }

  private func truncated(_ value: Double) throws(LimnError) -> Int? {
    guard !value.isNaN else { return nil }
    guard let integer = Int(exactly: value.rounded(.towardZero)) else {
      throw fail("an integer beyond 64 bits")
    }
    return integer
  }

  private func numberFilter(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    if case .undefined(let message) = value { throw fail(message) }
    try pay(value.weight)
    switch name {
    case "abs":
      _ = try call.bound(of: name)
      if let integer = value.integer { return integer < 0 ? try negated(.int(integer)) : .int(integer) }
      guard let number = value.number else { throw fail("'abs' needs a number") }
      return .float(number.magnitude)
    case "int":
      let arguments = try call.bound(to: "default", "base", of: name)
      let fallback = arguments[0] ?? .int(0)
      if let integer = value.integer { return .int(integer) }
      if case .float(let number) = value { return try truncated(number).map { .int($0) } ?? fallback }
      guard let text = value.text else { return fallback }
      if let integer = pythonInteger(text, base: try optionalInteger(arguments[1], of: name) ?? 10) {
        return .int(integer)
      }
      guard let number = pythonFloat(text), number.isFinite else { return fallback }
      return try truncated(number).map { .int($0) } ?? fallback
    case "float":
      let fallback = try call.bound(to: "default", of: name)[0] ?? .float(0)
      return (value.number ?? value.text.flatMap { pythonFloat($0) }).map { .float($0) } ?? fallback
    default: return try rounded(value, call)
    }
  }

  private func rounded(_ value: Value, _ call: Call) throws(LimnError) -> Value {
    let arguments = try call.bound(to: "precision", "method", of: "round")
    let precision = try optionalInteger(arguments[0], of: "round") ?? 0
    let method = try optionalText(arguments[1], of: "round") ?? "common"
    guard let number = value.number else { throw fail("'round' needs a number") }
    guard ["common", "ceil", "floor"].contains(method) else {
      throw fail("'round' knows common, ceil and floor")
    }
    let scale = power(10, Double(precision))
    guard method == "common" else {
      // Python rounds to an integer, which has no negative zero.
      return .float(((number * scale).rounded(method == "ceil" ? .up : .down) + 0) / scale)
    }
    if let integer = value.integer {
      guard precision < 0 else { return .int(integer) }
      let rounded = (Double(integer) * scale).rounded(.toNearestOrEven) / scale
      guard let whole = Int(exactly: rounded.rounded()) else { throw fail("an integer beyond 64 bits") }
      return .int(whole)
    }
    guard number.isFinite, precision <= 300 else { return value }
    if precision < 0 { return .float((number * scale).rounded(.toNearestOrEven) / scale) }
    return .float(Double(fixed(number, precision)) ?? number)
  }

  // MARK: Tests

  func test(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Bool {
    let comparisons: [String: Comparison] = [
      "==": .equal, "eq": .equal, "equalto": .equal, "!=": .notEqual, "ne": .notEqual, ">": .greater,
      "gt": .greater,
      "greaterthan": .greater, "ge": .greaterOrEqual, ">=": .greaterOrEqual, "<": .less, "lt": .less,
      "lessthan": .less,
      "<=": .lessOrEqual, "le": .lessOrEqual, "in": .isIn,
    ]
    if let comparison = comparisons[name] {
      guard let other = try call.bound(to: "_other", of: name)[0] else {
        throw fail("the test '\(name)' needs a value")
      }
      return try compare(value, comparison, other)
    }
    switch name {
    case "divisibleby", "sameas":
      guard let other = try call.bound(to: name == "sameas" ? "other" : "num", of: name)[0] else {
        throw fail("the test '\(name)' needs a value")
      }
      if name == "divisibleby" { return try binary(.modulo, value, other).equals(.int(0)) }
      try pay(min(value.weight, other.weight))
      return value.typeName == other.typeName && value.equals(other)
    case "odd", "even":
      _ = try call.bound(of: name)
      return try binary(.modulo, value, .int(2)).equals(.int(name == "odd" ? 1 : 0))
    default:
      _ = try call.bound(of: name)
      return try plainTest(name, value)
    }
  }

  private func plainTest(_ name: String, _ value: Value) throws(LimnError) -> Bool {
    if name == "lower" || name == "upper" { try pay(value.weight) }
    switch name {
    case "defined": return !value.isUndefined
    case "undefined": return value.isUndefined
    case "none": return value.isNone
    case "string": return value.text != nil
    case "mapping": if case .dict = value { return true } else { return false }
    case "boolean": if case .bool = value { return true } else { return false }
    case "true": if case .bool(true) = value { return true } else { return false }
    case "false": if case .bool(false) = value { return true } else { return false }
    case "integer": if case .int = value { return true } else { return false }
    case "float": if case .float = value { return true } else { return false }
    case "number": return value.number != nil
    case "lower": return try printed(value).hasOnlyCase(lower: true)
    case "upper": return try printed(value).hasOnlyCase(lower: false)
    case "escaped": if case .markup = value { return true } else { return false }
    case "filter":
      return value.text.map { Self.scalarFilters.contains($0) || Self.sequenceFilters.contains($0) } ?? false
    case "sequence":
      switch value {
      case .list, .tuple, .dict, .string, .markup, .range, .undefined: return true
      default: return false
      }
    case "iterable":
      switch value {
      case .list, .tuple, .dict, .string, .markup, .range, .undefined, .view, .iterator, .loop: return true
      default: return false
      }
    case "callable":
      switch value {
      case .macro, .function, .method, .loop, .undefined: return true
      default: return false
      }
    default: throw fail("there is no test '\(name)'")
    }
  }
}
