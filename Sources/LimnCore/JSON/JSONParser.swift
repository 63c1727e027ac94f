import CLimnSystem

extension JSON {
  /// What happens when an object has two members of the same name.
  package enum Duplicates: Sendable {
    /// The second replaces the first, as in Python.
    case keepLast
    /// This is an error, as in the safetensors library.
    case reject
  }

  /// How deeply arrays and objects may be nested.
  static let depthLimit = 128
  /// How many values one document may contain: twice what the largest vocabularies need.
  static let valueLimit = 4_000_000

  /// Parses one JSON document in UTF-8.
  /// - Parameters:
  ///   - place: what the bytes are, usually the file's path, for messages.
  ///   - lenient: accepts what Python's `json` accepts beyond the standard: `NaN`, `Infinity`, `-Infinity`, a byte
  ///     order mark, and unpaired surrogates (which become U+FFFD, because a Swift string cannot hold them).
  /// - Throws: bad data with line and column.
  package static func parse(
    _ bytes: UnsafeRawBufferPointer, place: String, duplicates: Duplicates = .keepLast, lenient: Bool = true
  ) throws(LimnError) -> JSON {
    var parser = JSONParser(bytes: bytes, place: place, duplicates: duplicates, lenient: lenient)
    return try parser.document()
  }

  /// Parses the text of a document.
  package static func parse(_ text: String, place: String) throws(LimnError) -> JSON {
    try parse([UInt8](text.utf8), place: place)
  }

  /// Parses the bytes of a document.
  package static func parse(
    _ bytes: [UInt8], place: String, duplicates: Duplicates = .keepLast, lenient: Bool = true
  ) throws(LimnError) -> JSON {
    try bytes.withUnsafeBufferPointer { bytes throws(LimnError) in
      try parse(UnsafeRawBufferPointer(bytes), place: place, duplicates: duplicates, lenient: lenient)
    }
  }

  /// Parses a file.
  package static func parse(file path: String) throws(LimnError) -> JSON {
    let memory = try Memory(mapping: path)
    defer { withExtendedLifetime(memory) {} }
    return try parse(memory.bytes, place: path)
  }
}

/// A recursive-descent parser over bytes. Strings without escapes, nearly all of them, are copied in one piece.
private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  let place: String
  let duplicates: JSON.Duplicates
  let lenient: Bool
  var position = 0
  var depth = 0
  var values = 0

  mutating func document() throws(LimnError) -> JSON {
    if lenient && bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    skipSpace()
    let value = try value()
    skipSpace()
    guard position == bytes.count else { throw error("something follows the end of the JSON value") }
    return value
  }

  private mutating func value() throws(LimnError) -> JSON {
    guard let first = peek else { throw error("the JSON text ends too early") }
    values += 1
    guard values <= JSON.valueLimit else { throw error("more than \(JSON.valueLimit) JSON values") }
    switch first {
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "{"): return try nested(Self.object)
    case UInt8(ascii: "["): return try nested(Self.array)
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "N") where lenient: return try word("NaN", .number(.nan))
    case UInt8(ascii: "I") where lenient: return try word("Infinity", .number(.infinity))
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("a JSON value is expected here")
    }
  }

  private mutating func nested(_ parse: (inout Self) throws(LimnError) -> JSON) throws(LimnError) -> JSON {
    guard depth < JSON.depthLimit else { throw error("JSON nested more than \(JSON.depthLimit) deep") }
    depth += 1
    position += 1
    let value = try parse(&self)
    depth -= 1
    return value
  }

  private static func array(_ parser: inout Self) throws(LimnError) -> JSON {
    var items: [JSON] = []
    parser.skipSpace()
    if parser.take("]") { return .array(items) }
    while true {
      parser.skipSpace()
      items.append(try parser.value())
      parser.skipSpace()
      if parser.take("]") { return .array(items) }
      guard parser.take(",") else { throw parser.error("',' or ']' is expected here") }
    }
  }

  private static func object(_ parser: inout Self) throws(LimnError) -> JSON {
    var object = JSONObject()
    parser.skipSpace()
    if parser.take("}") { return .object(object) }
    while true {
      parser.skipSpace()
      guard parser.peek == UInt8(ascii: "\"") else {
        throw parser.error("a key in double quotes is expected here")
      }
      let start = parser.position
      let key = try parser.string()
      parser.skipSpace()
      guard parser.take(":") else { throw parser.error("':' is expected here") }
      parser.skipSpace()
      if object.set(key, to: try parser.value()) && parser.duplicates == .reject {
        parser.position = start
        throw parser.error("the key \"\(key)\" stands here a second time")
      }
      parser.skipSpace()
      if parser.take("}") { return .object(object) }
      guard parser.take(",") else { throw parser.error("',' or '}' is expected here") }
    }
  }

  // MARK: Strings

  private mutating func string() throws(LimnError) -> String {
    position += 1
    let start = position
    while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
      position += 1
    }
    if peek == UInt8(ascii: "\"") {
      let text = try text(UnsafeRawBufferPointer(rebasing: bytes[start..<position]), from: start)
      position += 1
      return text
    }
    return try stringWithEscapes(from: start)
  }

  /// The slow path: copies the string from its start and resolves escapes.
  private mutating func stringWithEscapes(from start: Int) throws(LimnError) -> String {
    var content = [UInt8](bytes[start..<position])
    while let byte = peek {
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return try content.withUnsafeBufferPointer { content throws(LimnError) in
          try text(UnsafeRawBufferPointer(content), from: start)
        }
      case UInt8(ascii: "\\"):
        position += 1
        try escape(into: &content)
      case 0..<0x20:
        throw error("a control character inside a JSON string")
      default:
        content.append(byte)
        position += 1
      }
    }
    throw error("the JSON text ends inside a string")
  }

  private mutating func escape(into content: inout [UInt8]) throws(LimnError) {
    guard let letter = peek else { throw error("the JSON text ends inside a string") }
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(letter)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0C)
    case UInt8(ascii: "n"): content.append(0x0A)
    case UInt8(ascii: "r"): content.append(0x0D)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"): content.append(contentsOf: String(try escapedScalar()).utf8)
    default:
      position -= 1
      throw error("an unknown escape in a JSON string")
    }
  }

  /// Reads what follows `\u`: one code unit, or the two of a surrogate pair.
  private mutating func escapedScalar() throws(LimnError) -> Unicode.Scalar {
    let first = try fourHexDigits()
    if let scalar = Unicode.Scalar(first) { return scalar }
    if first < 0xDC00, peek == UInt8(ascii: "\\"), position + 1 < bytes.count,
      bytes[position + 1] == UInt8(ascii: "u")
    {
      let back = position
      position += 2
      let second = try fourHexDigits()
      if (0xDC00...0xDFFF).contains(second) {
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))!
      }
      position = back
    }
    guard lenient else { throw error("half of a surrogate pair in a JSON string") }
    return "\u{FFFD}"
  }

  private mutating func fourHexDigits() throws(LimnError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("four hexadecimal digits are expected here")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private func text(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(LimnError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      var broken = self
      broken.position = start
      throw broken.error("a JSON string that is not UTF-8")
    }
    return text
  }

  // MARK: Numbers and words

  private mutating func number() throws(LimnError) -> JSON {
    let start = position
    let negative = take("-")
    if negative && lenient && peek == UInt8(ascii: "I") { return try word("Infinity", .number(-.infinity)) }
    let firstDigit = position
    var magnitude: Int? = 0
    while let digit = digit() {
      magnitude = magnitude.flatMap { value in
        let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
        // Accumulates a negative number throughout, because Int.min has no positive counterpart.
        let (sum, tooFar) = scaled.subtractingReportingOverflow(digit)
        return overflow || tooFar ? nil : sum
      }
    }
    guard position > firstDigit else { throw error("a digit is expected here") }
    guard bytes[firstDigit] != UInt8(ascii: "0") || position == firstDigit + 1 else {
      position = firstDigit
      throw error("a number that starts with 0")
    }
    var isInteger = true
    if take(".") {
      isInteger = false
      try digits()
    }
    if take("e") || take("E") {
      isInteger = false
      _ = take("+") || take("-")
      try digits()
    }
    if isInteger, let magnitude, negative || magnitude != .min {
      return .integer(negative ? magnitude : -magnitude)
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    // `strtod` rounds correctly and returns infinity for numbers that are too large, as Python does.
    return .number(strtod(text, nil))
  }

  private mutating func digits() throws(LimnError) {
    guard digit() != nil else { throw error("a digit is expected here") }
    while digit() != nil {}
  }

  private mutating func digit() -> Int? {
    guard let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
    position += 1
    return Int(byte - UInt8(ascii: "0"))
  }

  private mutating func word(_ word: StaticString, _ value: JSON) throws(LimnError) -> JSON {
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count,
      bytes[position..<end].elementsEqual(
        UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    else { throw error("a JSON value is expected here") }
    position = end
    return value
  }

  // MARK: Bytes

  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private func error(_ what: String) -> LimnError {
    let before = bytes[..<Swift.min(position, bytes.count)]
    let line = before.count { $0 == 0x0A } + 1
    let column = position - (before.lastIndex(of: 0x0A) ?? -1)
    return .badData("\(what)", in: "\(place), line \(line), column \(column)")
  }
}
