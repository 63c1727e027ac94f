extension JSON {
  /// How a value is written; the defaults match Python's `json.dumps(…, ensure_ascii=False)`.
  package struct Format: Sendable {
    /// Spaces per level, with one member per line; nil: everything on one line.
    package var indent: Int?
    /// nil: "," at the end of a line, otherwise ", ".
    package var itemSeparator: String?
    package var keySeparator: String
    package var sortsKeys: Bool
    package var escapesNonASCII: Bool

    package init(
      indent: Int? = nil, itemSeparator: String? = nil, keySeparator: String = ": ", sortsKeys: Bool = false,
      escapesNonASCII: Bool = false
    ) {
      self.indent = indent
      self.itemSeparator = itemSeparator
      self.keySeparator = keySeparator
      self.sortsKeys = sortsKeys
      self.escapesNonASCII = escapesNonASCII
    }

    /// Without any spaces.
    package static let compact = Format(itemSeparator: ",", keySeparator: ":")
  }

  /// The JSON text, byte for byte what Python's `json.dumps` writes.
  package func serialised(_ format: Format = Format()) -> String {
    var writer = JSONWriter(format: format)
    writer.write(self, level: 0)
    return writer.text
  }

  /// A number as Python's `repr` writes it: the fewest digits that parse back to it, as in `1e-05`, `1e+16`, `2.0`.
  package static func text(of number: Double) -> String {
    if number.isNaN { return "NaN" }
    if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
    // Swift finds the same digits, but switches to exponents at other magnitudes: split its text and lay the digits out
    // again.
    let parts = number.magnitude.description.split(separator: "e")
    let mantissa = parts[0].split(separator: ".")
    var digits = mantissa[0] + (mantissa.count > 1 ? mantissa[1] : "")
    var point = mantissa[0].count + (parts.count > 1 ? Int(parts[1])! : 0)
    while digits.hasPrefix("0"), digits.count > 1 {
      digits.removeFirst()
      point -= 1
    }
    while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
    if digits == "0" { point = 1 }
    let sign = number.sign == .minus ? "-" : ""
    if point > 16 || point < -3 {
      let exponent = point - 1
      let padded = (exponent.magnitude < 10 ? "0" : "") + String(exponent.magnitude)
      let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
      return sign + digits.prefix(1) + fraction + "e" + (exponent < 0 ? "-" : "+") + padded
    }
    if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
    if digits.count <= point {
      return sign + digits + String(repeating: "0", count: point - digits.count) + ".0"
    }
    return sign + digits.prefix(point) + "." + digits.dropFirst(point)
  }
}

private struct JSONWriter {
  let format: JSON.Format
  var text = ""

  mutating func write(_ value: JSON, level: Int) {
    switch value {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .number(let value): text += JSON.text(of: value)
    case .string(let value): write(value)
    case .array(let items):
      list("[", items, "]", level: level) { writer, item in writer.write(item, level: level + 1) }
    case .object(let object):
      let members =
        format.sortsKeys ? object.members.sorted { Self.precedes($0.key, $1.key) } : object.members
      list("{", members, "}", level: level) { writer, member in
        writer.write(member.key)
        writer.text += writer.format.keySeparator
        writer.write(member.value, level: level + 1)
      }
    }
  }

  /// Python sorts by code point.
  private static func precedes(_ a: String, _ b: String) -> Bool {
    a.unicodeScalars.lexicographicallyPrecedes(b.unicodeScalars)
  }

  private mutating func list<Item>(
    _ open: String, _ items: [Item], _ close: String, level: Int, write: (inout Self, Item) -> Void
  ) {
    text += open
    let separator = format.itemSeparator ?? (format.indent == nil ? ", " : ",")
    for (index, item) in items.enumerated() {
      if index > 0 { text += separator }
      newLine(level + 1)
      write(&self, item)
    }
    if !items.isEmpty { newLine(level) }
    text += close
  }

  private mutating func newLine(_ level: Int) {
    guard let indent = format.indent else { return }
    text += "\n" + String(repeating: " ", count: indent * level)
  }

  private mutating func write(_ string: String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{08}": text += "\\b"
      case "\u{0C}": text += "\\f"
      case _ where scalar.value < 0x20 || format.escapesNonASCII && scalar.value >= 0x7F:
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
