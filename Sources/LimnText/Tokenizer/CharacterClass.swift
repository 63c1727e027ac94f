/// The bytes of a text in UTF-8, which is well-formed because it comes from a Swift string.
package typealias Bytes = UnsafeBufferPointer<UInt8>

extension UnsafeBufferPointer<UInt8> {
  /// The code point that starts at a byte, and its length in bytes.
  @inline(__always)
  func scalar(at index: Int) -> (value: UInt32, length: Int) {
    let first = self[index]
    if first < 0x80 { return (UInt32(first), 1) }
    let length = Swift.min(utf8Length(first), count - index)
    var value = UInt32(first) & (0x7F >> UInt32(length))
    for offset in 1..<Swift.max(length, 1) { value = value << 6 | UInt32(self[index + offset] & 0x3F) }
    return (value, length)
  }

  /// The code point that ends before a byte, and its length in bytes.
  func scalar(before index: Int) -> (value: UInt32, length: Int) {
    var start = index - 1
    while start > 0 && self[start] & 0xC0 == 0x80 { start -= 1 }
    return (scalar(at: start).value, index - start)
  }
}

/// The length in bytes of a character with this first byte.
@inline(__always)
func utf8Length(_ first: UInt8) -> Int {
  first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
}

/// The properties of a code point that tokenizer patterns test.
package struct CharacterClass: OptionSet {
  package let rawValue: UInt8

  package static let letter = CharacterClass(rawValue: 1)  // \p{L}
  package static let number = CharacterClass(rawValue: 2)  // \p{N}
  package static let space = CharacterClass(rawValue: 4)  // \s, which is White_Space
  package static let mark = CharacterClass(rawValue: 8)  // \p{M}
  package static let punctuation = CharacterClass(rawValue: 16)  // \p{P}
  static let newline = CharacterClass(rawValue: 32)  // [\r\n]
  static let lettersNumbersSpaces: CharacterClass = [.letter, .number, .space]

  package init(rawValue: UInt8) { self.rawValue = rawValue }

  @inline(__always)
  package init(of value: UInt32) {
    self = value < 128 ? Self.ascii[Int(value)] : Self.lookedUp(value)
  }

  private static let ascii: [CharacterClass] = (0..<128).map { lookedUp($0) }

  private static func lookedUp(_ value: UInt32) -> CharacterClass {
    guard let scalar = Unicode.Scalar(value) else { return [] }
    var result: CharacterClass = []
    let category = GeneralCategory.mask(of: scalar)
    if category & GeneralCategory.letter != 0 { result.insert(.letter) }
    if category & GeneralCategory.number != 0 { result.insert(.number) }
    if category & GeneralCategory.mark != 0 { result.insert(.mark) }
    if category & GeneralCategory.punctuation != 0 { result.insert(.punctuation) }
    if scalar.properties.isWhitespace { result.insert(.space) }
    if value == 10 || value == 13 { result.insert(.newline) }
    return result
  }

  /// Oniguruma's `\w`: letters, marks, decimal digits, connectors and, historically, Latin-1's ² ³ ¹ ¼ ½ ¾.
  package static func isWord(_ value: UInt32) -> Bool {
    if [0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE].contains(value) { return true }
    return isWordOrJoiner(value) && value != 0x200C && value != 0x200D
  }

  /// `\w` as Unicode recommends it, which includes the joiners.
  static func isWordOrJoiner(_ value: UInt32) -> Bool {
    guard let scalar = Unicode.Scalar(value) else { return false }
    let category = GeneralCategory.mask(of: scalar)
    if scalar.properties.isJoinControl { return true }
    let word = GeneralCategory.mark | GeneralCategory.masks["Nd"]! | GeneralCategory.masks["Pc"]!
    return category & word != 0
      || category & GeneralCategory.unassigned == 0 && scalar.properties.isAlphabetic
  }
}

/// Sets of general categories as bit masks, by their names in `\p{…}`.
enum GeneralCategory {
  private static let names: [(Unicode.GeneralCategory, String)] = [
    (.uppercaseLetter, "Lu"), (.lowercaseLetter, "Ll"), (.titlecaseLetter, "Lt"), (.modifierLetter, "Lm"),
    (.otherLetter, "Lo"), (.nonspacingMark, "Mn"), (.spacingMark, "Mc"), (.enclosingMark, "Me"),
    (.decimalNumber, "Nd"), (.letterNumber, "Nl"), (.otherNumber, "No"), (.connectorPunctuation, "Pc"),
    (.dashPunctuation, "Pd"), (.openPunctuation, "Ps"), (.closePunctuation, "Pe"),
    (.initialPunctuation, "Pi"),
    (.finalPunctuation, "Pf"), (.otherPunctuation, "Po"), (.mathSymbol, "Sm"), (.currencySymbol, "Sc"),
    (.modifierSymbol, "Sk"), (.otherSymbol, "So"), (.spaceSeparator, "Zs"), (.lineSeparator, "Zl"),
    (.paragraphSeparator, "Zp"), (.control, "Cc"), (.format, "Cf"), (.surrogate, "Cs"), (.privateUse, "Co"),
    (.unassigned, "Cn"),
  ]

  /// "Lu" and the like, and their initials, which cover all categories that begin with that letter.
  static let masks: [String: UInt32] = {
    var masks: [String: UInt32] = [:]
    for (place, (_, name)) in names.enumerated() {
      masks[name, default: 0] |= 1 << UInt32(place)
      masks[String(name.first!), default: 0] |= 1 << UInt32(place)
    }
    return masks
  }()

  static let letter = masks["L"]!
  static let mark = masks["M"]!
  static let number = masks["N"]!
  static let punctuation = masks["P"]!
  static let unassigned = masks["Cn"]!

  private static let bits = Dictionary(
    uniqueKeysWithValues: names.enumerated().map { ($1.0, 1 << UInt32($0) as UInt32) })

  /// The category in Unicode 16, the version in `tokenizers`' pattern matcher: characters added later are
  /// unassigned.
  static func mask(of scalar: Unicode.Scalar) -> UInt32 {
    if scalar.value >= 128, let age = scalar.properties.age, age.major > 16 { return unassigned }
    return bits[scalar.properties.generalCategory]!
  }
}
