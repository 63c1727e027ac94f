/// A place in a JSON string: where the automaton of its content is, and what of a character has been read.
struct StringPlace: Hashable, Sendable {
  private enum Phase: Hashable {
    /// Before the opening quote.
    case before
    /// Between two characters.
    case between
    /// Bytes of UTF-8 are missing, of a character of this many bytes.
    case character(missing: UInt8, of: UInt8, value: UInt32)
    /// Any bytes that go on with a character may follow, this many: all of them lead to `content`.
    case rest(missing: UInt8)
    /// Behind a backslash.
    case escape
    /// Hexadecimal digits are missing.
    case hex(missing: UInt8, value: UInt32)
  }

  enum Step {
    case inside(StringPlace)
    /// The closing quote was read.
    case closed
  }

  private var phase: Phase
  private var content: TextAutomaton.State

  init(_ content: TextAutomaton.State) {
    phase = .before
    self.content = content
  }

  private init(_ phase: Phase, _ content: TextAutomaton.State) {
    self.phase = phase
    self.content = content
  }

  /// Reads a byte; nil: it may not stand here.
  func after(_ byte: UInt8, _ automaton: TextAutomaton) -> Step? {
    switch phase {
    case .before: return byte == UInt8(ascii: "\"") ? .inside(StringPlace(.between, content)) : nil
    case .between: return between(byte, automaton)
    case .character(let missing, let length, let value):
      guard byte & 0xC0 == 0x80 else { return nil }
      return character(missing - 1, length, value << 6 | UInt32(byte & 0x3F), automaton)
    case .rest(let missing):
      guard byte & 0xC0 == 0x80 else { return nil }
      return .inside(StringPlace(missing == 1 ? .between : .rest(missing: missing - 1), content))
    case .escape: return escape(byte, automaton)
    case .hex(let missing, let value):
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
      return hex(missing - 1, value << 4 | UInt32(digit), automaton)
    }
  }

  private func between(_ byte: UInt8, _ automaton: TextAutomaton) -> Step? {
    switch byte {
    case UInt8(ascii: "\""): return automaton.isAccepting(content) ? .closed : nil
    case UInt8(ascii: "\\"):
      return Self.escapes.contains { escape($0.key, automaton) != nil } || hex(4, 0, automaton) != nil
        ? .inside(StringPlace(.escape, content)) : nil
    case 0..<0x20: return nil
    case 0x20..<0x80: return whole(UInt32(byte), automaton)
    case 0xC2...0xDF: return character(1, 2, UInt32(byte & 0x1F), automaton)
    case 0xE0...0xEF: return character(2, 3, UInt32(byte & 0x0F), automaton)
    case 0xF0...0xF4: return character(3, 4, UInt32(byte & 0x07), automaton)
    default: return nil
    }
  }

  private func whole(_ scalar: UInt32, _ automaton: TextAutomaton) -> Step? {
    automaton.state(after: scalar, from: content).map { .inside(StringPlace(.between, $0)) }
  }

  private func character(_ missing: UInt8, _ length: UInt8, _ value: UInt32, _ automaton: TextAutomaton) -> Step? {
    let shift = 6 * UInt32(missing)
    // Shorter forms of a character are not UTF-8.
    let least: UInt32 = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000
    let low = max(least, value << shift), high = min(0x10FFFF, value << shift | (1 << shift - 1))
    guard low <= high else { return nil }
    if missing == 0 { return ScalarSet.surrogates.contains(value) ? nil : whole(value, automaton) }
    let isWhole = low == value << shift && high == value << shift | (1 << shift - 1)
    if isWhole, let after = automaton.state(afterAllOf: low...high, from: content) {
      return .inside(StringPlace(.rest(missing: missing), after))
    }
    guard automaton.allows(anyOf: low...high, from: content) else { return nil }
    return .inside(StringPlace(.character(missing: missing, of: length, value: value), content))
  }

  private static let escapes: [UInt8: UInt32] = [
    UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F, UInt8(ascii: "b"): 8,
    UInt8(ascii: "f"): 0xC, UInt8(ascii: "n"): 0xA, UInt8(ascii: "r"): 0xD, UInt8(ascii: "t"): 9,
  ]

  private func escape(_ byte: UInt8, _ automaton: TextAutomaton) -> Step? {
    if byte == UInt8(ascii: "u") { return hex(4, 0, automaton) }
    return Self.escapes[byte].flatMap { whole($0, automaton) }
  }

  /// Characters beyond U+FFFF, which take two escapes, are written as they are.
  private func hex(_ missing: UInt8, _ value: UInt32, _ automaton: TextAutomaton) -> Step? {
    if missing == 0 { return ScalarSet.surrogates.contains(value) ? nil : whole(value, automaton) }
    let shift = 4 * UInt32(missing)
    guard automaton.allows(anyOf: value << shift...(value << shift | (1 << shift - 1)), from: content) else {
      return nil
    }
    return .inside(StringPlace(.hex(missing: missing, value: value), content))
  }
}
