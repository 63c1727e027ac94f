import Foundation
import LimnCore

// `"…" % values` and `"…".format(…)`.

extension Renderer {
  static let widthLimit = 10_000

  /// The number with `digits` digits after the point, rounded from its exact value.
  func fixed(_ number: Double, _ digits: Int) -> String {
    String(format: "%.\(min(digits, Self.widthLimit))f", number)
  }

  private struct Format {
    var fill: Unicode.Scalar = " "
    var alignment: Unicode.Scalar?
    var sign: Unicode.Scalar?
    var alternate = false
    var zero = false
    var width = 0
    var grouping: Unicode.Scalar?
    var precision: Int?
    var type: Unicode.Scalar = "s"
  }

  // MARK: %

  func percentFormat(_ text: String, _ values: Value) throws(LimnError) -> String {
    let scalars = Array(text.unicodeScalars)
    try pay(scalars.count, times: 8)
    var arguments: [Value] = [values]
    if case .tuple(let items) = values { arguments = items.values }
    var used = 0
    var usedName = false
    func take() throws(LimnError) -> Value {
      guard used < arguments.count else { throw fail("not enough values for '%'") }
      used += 1
      return arguments[used - 1]
    }
    var result = String.UnicodeScalarView()
    var index = 0
    func current() throws(LimnError) -> Unicode.Scalar {
      guard index < scalars.count else { throw fail("an incomplete format") }
      return scalars[index]
    }
    func number() throws(LimnError) -> Int? {
      if index < scalars.count, scalars[index] == "*" {
        index += 1
        return try optionalInteger(try take(), of: "%")
      }
      return try self.number(in: scalars, &index)
    }
    while index < scalars.count {
      guard scalars[index] == "%" else {
        result.append(scalars[index])
        index += 1
        continue
      }
      index += 1
      var value: Value?
      if try current() == "(" {
        guard let end = scalars[index...].firstIndex(of: ")"), case .dict(let mapping) = values else {
          throw fail("'%(' needs a dictionary")
        }
        let name = String(scalars: scalars[(index + 1)..<end])
        guard let member = mapping[name] else { throw fail("a format names '\(name)', which is not given") }
        (value, index, usedName) = (member, end + 1, true)
      }
      var format = Format()
      while index < scalars.count, "-+ #0".unicodeScalars.contains(scalars[index]) {
        switch scalars[index] {
        case "-": format.alignment = "<"
        case "#": format.alternate = true
        case "0": format.zero = true
        default: format.sign = scalars[index] == "+" ? "+" : format.sign ?? " "
        }
        index += 1
      }
      if let width = try number() {
        format.width = try checkedWidth(Int(clamping: width.magnitude))
        if width < 0 { format.alignment = "<" }
      }
      if index < scalars.count, scalars[index] == "." {
        index += 1
        format.precision = try checkedWidth(try number() ?? 0)
      }
      while index < scalars.count, "hlL".unicodeScalars.contains(scalars[index]) { index += 1 }
      format.type = try current()
      index += 1
      if format.type == "%" {
        result.append("%")
        continue
      }
      if value == nil { value = try take() }
      result.append(contentsOf: try percent(value!, format).unicodeScalars)
    }
    var isMapping = false
    if case .dict = values { isMapping = true }
    guard used >= arguments.count || usedName || isMapping else { throw fail("too many values for '%'") }
    try pay(result.count)
    return String(result)
  }

  private func number(in scalars: [Unicode.Scalar], _ index: inout Int) throws(LimnError) -> Int? {
    let digits = scalars[index...].prefix { ("0"..."9").contains($0) }
    guard !digits.isEmpty else { return nil }
    index += digits.count
    guard let value = Int(String(scalars: digits)) else { throw fail("a format that is too wide") }
    return value
  }

  private func checkedWidth(_ width: Int) throws(LimnError) -> Int {
    guard (0...Self.widthLimit).contains(width) else { throw fail("a format wider than \(Self.widthLimit)") }
    return width
  }

  private func percent(_ value: Value, _ format: Format) throws(LimnError) -> String {
    var format = format
    switch format.type {
    case "s", "r", "a":
      try pay(value.weight)
      let text = format.type == "s" ? value.printed : value.represented
      format.zero = false
      return padded(
        String(scalars: text.unicodeScalars.prefix(format.precision ?? .max)), format, default: ">")
    case "c":
      if let code = value.integer, let scalar = UInt32(exactly: code).flatMap(Unicode.Scalar.init) {
        return padded(String(scalar), format, default: ">")
      }
      guard let text = value.text, text.scalarCount == 1 else { throw fail("'%c' needs one character") }
      return padded(text, format, default: ">")
    case "d", "i", "u", "x", "X", "o":
      var integer = value.integer
      if integer == nil, "diu".unicodeScalars.contains(format.type), let number = value.number {
        integer = Int(exactly: number.rounded(.towardZero))
      }
      guard let integer else { throw fail("'%\(format.type)' needs an integer, not a \(value.typeName)") }
      let radix = format.type == "o" ? 8 : format.type == "x" || format.type == "X" ? 16 : 10
      var digits = String(integer.magnitude, radix: radix, uppercase: format.type == "X")
      digits = String(repeating: "0", count: max(0, (format.precision ?? 0) - digits.count)) + digits
      let prefix = format.alternate && radix != 10 ? "0\(format.type)" : ""
      return padded(digits, format, isNegative: integer < 0, prefix: prefix)
    case "f", "F", "e", "E", "g", "G":
      guard let number = value.number else {
        throw fail("'%\(format.type)' needs a number, not a \(value.typeName)")
      }
      let digits = String(format: "%.\(format.precision ?? 6)\(format.type)", number.magnitude)
      if !number.isFinite { format.zero = false }
      return padded(digits, format, isNegative: number.sign == .minus && !number.isNaN)
    default: throw fail("an unknown format '%\(format.type)'")
    }
  }

  private func padded(
    _ digits: String, _ format: Format, isNegative: Bool, prefix: String = ""
  ) -> String {
    let sign = isNegative ? "-" : format.sign.map { $0 == "-" ? "" : String($0) } ?? ""
    if format.zero, format.alignment == nil || format.alignment == "=" {
      let missing = max(0, format.width - sign.count - prefix.count - digits.scalarCount)
      return sign + prefix + String(repeating: "0", count: missing) + digits
    }
    return padded(sign + prefix + digits, format, default: ">")
  }

  private func padded(_ text: String, _ format: Format, default alignment: Unicode.Scalar) -> String {
    let missing = max(0, format.width - text.scalarCount)
    let fill = String(format.fill)
    switch format.alignment ?? alignment {
    case "<": return text + String(repeating: fill, count: missing)
    case "^":
      return String(repeating: fill, count: missing / 2) + text
        + String(repeating: fill, count: missing - missing / 2)
    default: return String(repeating: fill, count: missing) + text
    }
  }

  // MARK: { }

  func braceFormat(_ text: String, _ call: Call) throws(LimnError) -> String {
    let scalars = Array(text.unicodeScalars)
    try pay(scalars.count, times: 8)
    var result = ""
    var index = 0
    var automatic = 0
    while index < scalars.count {
      let scalar = scalars[index]
      index += 1
      guard scalar == "{" || scalar == "}" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      if index < scalars.count, scalars[index] == scalar {
        result.unicodeScalars.append(scalar)
        index += 1
        continue
      }
      guard scalar == "{", let end = scalars[index...].firstIndex(of: "}"),
        !scalars[index..<end].contains("{")
      else {
        throw fail("a format with braces that do not match, or nest")
      }
      result += try field(scalars[index..<end], call, &automatic)
      try pay(result.utf8.count)
      index = end + 1
    }
    return result
  }

  /// `name.attribute[key]!r:format`.
  private func field(_ field: ArraySlice<Unicode.Scalar>, _ call: Call, _ automatic: inout Int)
    throws(LimnError) -> String
  {
    let colon = field.firstIndex(of: ":") ?? field.endIndex
    var path = field[..<colon]
    var conversion: Unicode.Scalar?
    if let mark = path.firstIndex(of: "!") {
      guard path.endIndex == mark + 2 else { throw fail("an unknown conversion in a format") }
      conversion = path[mark + 1]
      path = path[..<mark]
    }
    let name = path.prefix { $0 != "." && $0 != "[" }
    var value: Value
    if name.isEmpty || name.allSatisfy({ ("0"..."9").contains($0) }) {
      let index = name.isEmpty ? automatic : Int(String(scalars: name)) ?? .max
      if name.isEmpty { automatic += 1 }
      guard index < call.positional.count else { throw fail("not enough values for 'format'") }
      value = call.positional[index]
    } else {
      let wanted = String(scalars: name)
      guard let named = call.named.first(where: { $0.name == wanted }) else {
        throw fail("'format' is not given '\(wanted)'")
      }
      value = named.value
    }
    var rest = path.dropFirst(name.count)
    while let first = rest.first {
      let part: ArraySlice<Unicode.Scalar>
      if first == "[" {
        guard let end = rest.firstIndex(of: "]") else { throw fail("a format without ']'") }
        part = rest[rest.startIndex + 1..<end]
        rest = rest[(end + 1)...]
        let key = String(scalars: part)
        value = try item(Int(key).map { .int($0) } ?? .string(key), of: value)
      } else {
        part = rest.dropFirst().prefix { $0 != "." && $0 != "[" }
        rest = rest.dropFirst(1 + part.count)
        value = try attribute(String(scalars: part), of: value)
      }
    }
    try pay(value.weight)
    if conversion == "r" {
      value = .string(value.represented)
    } else if conversion == "s" {
      value = .string(value.printed)
    }
    return try formatted(value, Array(field[colon...].dropFirst()))
  }

  /// Python's format specification: `[[fill]align][sign][#][0][width][,][.precision][type]`.
  private func formatted(_ value: Value, _ specification: [Unicode.Scalar]) throws(LimnError) -> String {
    try pay(value.weight)
    guard !specification.isEmpty else { return value.printed }
    var format = Format()
    var index = 0
    func current() -> Unicode.Scalar? { index < specification.count ? specification[index] : nil }
    let alignments = "<>=^".unicodeScalars
    if specification.count > 1, alignments.contains(specification[1]) {
      (format.fill, format.alignment, index) = (specification[0], specification[1], 2)
    } else if alignments.contains(specification[0]) {
      (format.alignment, index) = (specification[0], 1)
    }
    if let sign = current(), "+- ".unicodeScalars.contains(sign) { (format.sign, index) = (sign, index + 1) }
    if current() == "#" { (format.alternate, index) = (true, index + 1) }
    if current() == "0" { (format.zero, index) = (true, index + 1) }
    format.width = try checkedWidth(try number(in: specification, &index) ?? 0)
    if let mark = current(), mark == "," || mark == "_" { (format.grouping, index) = (mark, index + 1) }
    if current() == "." {
      index += 1
      format.precision = try checkedWidth(try number(in: specification, &index) ?? 0)
    }
    let type = current()
    guard index >= specification.count - 1 else { throw fail("an invalid format") }
    if value.text != nil {
      guard type == nil || type == "s", format.sign == nil, format.grouping == nil else {
        throw fail("a number's format for a string")
      }
      return padded(
        String(scalars: value.text!.unicodeScalars.prefix(format.precision ?? .max)), format, default: "<")
    }
    guard let number = value.number else { throw fail("a format for a \(value.typeName)") }
    if value.integer != nil, type == nil || "dxXob".unicodeScalars.contains(type!) {
      guard format.precision == nil else { throw fail("a precision for an integer") }
      let integer = value.integer!
      let radix = ["x": 16, "X": 16, "o": 8, "b": 2][type ?? "d"] ?? 10
      let digits = String(integer.magnitude, radix: radix, uppercase: type == "X")
      let prefix = format.alternate && radix != 10 ? "0\(type!)" : ""
      return padded(grouped(digits, format.grouping), format, isNegative: integer < 0, prefix: prefix)
    }
    if type == nil, format.precision == nil {
      return padded(Value.float(number.magnitude).printed, format, isNegative: number.sign == .minus)
    }
    guard let type, "feEgG%F".unicodeScalars.contains(type) else {
      throw fail("this format of a number is not supported")
    }
    let letter = type == "%" ? "f" : type
    let scaled = type == "%" ? number.magnitude * 100 : number.magnitude
    let digits = String(format: "%.\(format.precision ?? 6)\(letter)", scaled) + (type == "%" ? "%" : "")
    return padded(grouped(digits, format.grouping), format, isNegative: number.sign == .minus)
  }

  private func grouped(_ digits: String, _ separator: Unicode.Scalar?) -> String {
    guard let separator else { return digits }
    let whole = digits.prefix { $0.isHexDigit }
    var result = ""
    for (index, digit) in whole.enumerated() {
      if index > 0, (whole.count - index) % 3 == 0 { result.unicodeScalars.append(separator) }
      result.append(digit)
    }
    return result + digits.dropFirst(whole.count)
  }
}
