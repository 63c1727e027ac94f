/// Turns tokens back into text, one by one, through a chain of steps. Each step may hold back what it cannot
/// decide yet. Decoding a whole list runs the same steps, so both give the same text.
struct Decoder: Sendable {
  enum Step: Sendable {
    case replace(Pattern, with: [UInt8])
    /// Tokens like `<0x0A>` are bytes; a run of them becomes text if it is valid UTF-8 as a whole, else one
    /// U+FFFD per byte.
    case byteFallback
    /// Tokens in GPT-2's byte characters.
    case byteLevel
    /// Replaces `replacement` by spaces, or by nothing in the first token if `dropsFirst`.
    case metaspace(replacement: [UInt8], dropsFirst: Bool)
    /// Removes up to `start` and `stop` occurrences of a character from the two ends, of every token or of
    /// the whole text.
    case strip(character: [UInt8], start: Int, stop: Int, wholeText: Bool)
    /// Puts a space between tokens: what a tokenizer without a decoder does.
    case join
  }

  private var steps: [State]
  private var utf8 = UTF8Decoder()

  /// A step and its state.
  private struct State: Sendable {
    let step: Step
    var isFirst = true
    /// `byteFallback`: the bytes of the current run. `strip`: trailing characters, to be removed at the end.
    var held: [UInt8] = []
    /// `strip`: how many characters have been removed from the start; at `start`, no more are.
    var stripped = 0
  }

  init(_ steps: [Step]) {
    self.steps = steps.map { State(step: $0) }
  }

  /// Adds a token; returns the text that is now certain.
  mutating func append(_ token: [UInt8]) -> String {
    var output: [UInt8] = []
    push(token, into: 0, &output)
    return utf8.append(output)
  }

  /// The bytes that a token stands for within a text, apart from its beginning and its end.
  static func bytes(of token: [UInt8], _ steps: [Step]) -> [UInt8] {
    var bytes = token
    for step in steps {
      switch step {
      case .replace(let pattern, let content): bytes = pattern.replacingMatches(in: bytes, with: content)
      case .byteLevel: bytes = ByteLevel.decoded(bytes)
      case .join: bytes = [0x20] + bytes
      case .metaspace(let replacement, _):
        bytes = Pattern(literal: String(decoding: replacement, as: UTF8.self)).replacingMatches(in: bytes, with: [0x20])
      case .byteFallback: if let byte = byte(of: bytes[...]) { return [byte] }
      case .strip: break
      }
    }
    return bytes
  }

  /// Returns the text still held back.
  mutating func finish() -> String {
    var output: [UInt8] = []
    for place in steps.indices { flush(place, &output) }
    return utf8.append(output) + utf8.finish()
  }

  private mutating func push(_ token: [UInt8], into place: Int, _ output: inout [UInt8]) {
    guard place < steps.count else {
      output.append(contentsOf: token)
      return
    }
    switch steps[place].step {
    case .replace(let pattern, let content):
      push(pattern.replacingMatches(in: token, with: content), into: place + 1, &output)
    case .byteLevel: push(ByteLevel.decoded(token), into: place + 1, &output)
    case .join:
      push(steps[place].isFirst ? token : [0x20] + token, into: place + 1, &output)
      steps[place].isFirst = false
    case .metaspace(let replacement, let dropsFirst):
      let drops = dropsFirst && steps[place].isFirst
      steps[place].isFirst = false
      let pattern = Pattern(literal: String(decoding: replacement, as: UTF8.self))
      push(pattern.replacingMatches(in: token, with: drops ? [] : [0x20]), into: place + 1, &output)
    case .byteFallback:
      if let byte = Self.byte(of: token[...]) {
        steps[place].held.append(byte)
      } else {
        flush(place, &output)
        push(token, into: place + 1, &output)
      }
    case .strip(let character, let start, let stop, let wholeText):
      if !wholeText { steps[place].stripped = 0 }
      push(strip(token, place, character, start, stop), into: place + 1, &output)
      if !wholeText { steps[place].held = [] }
    }
  }

  /// Passes on what a step has held back and no further token can change.
  private mutating func flush(_ place: Int, _ output: inout [UInt8]) {
    guard case .byteFallback = steps[place].step, !steps[place].held.isEmpty else { return }
    let bytes = steps[place].held
    steps[place].held = []
    if String(validating: bytes, as: UTF8.self) != nil {
      push(bytes, into: place + 1, &output)
    } else {
      for _ in bytes { push([0xEF, 0xBF, 0xBD], into: place + 1, &output) }
    }
  }

  /// Strips a token and holds back what must be removed if nothing follows.
  private mutating func strip(
    _ token: [UInt8], _ place: Int, _ character: [UInt8], _ start: Int, _ stop: Int
  ) -> [UInt8] {
    var rest = token[...]
    while steps[place].stripped < start, rest.starts(with: character) {
      rest = rest.dropFirst(character.count)
      steps[place].stripped += 1
    }
    if !rest.isEmpty { steps[place].stripped = start }
    let text = steps[place].held + rest
    var kept = text[...]
    for _ in 0..<stop
    where kept.count >= character.count && kept.suffix(character.count).elementsEqual(character) {
      kept = kept.dropLast(character.count)
    }
    steps[place].held = Array(text[kept.endIndex...])
    return Array(kept)
  }

  /// The byte of a token like `<0x0A>`.
  static func byte(of token: ArraySlice<UInt8>) -> UInt8? {
    guard token.count == 6, token.starts(with: [0x3C, 0x30, 0x78]), token.last == 0x3E else { return nil }
    var value: UInt8 = 0
    for digit in token.dropFirst(3).dropLast() {
      switch digit {
      case 0x30...0x39: value = value << 4 | (digit - 0x30)
      case 0x41...0x46: value = value << 4 | (digit - 0x41 + 10)
      case 0x61...0x66: value = value << 4 | (digit - 0x61 + 10)
      default: return nil
      }
    }
    return value
  }
}

/// Decodes a stream of bytes. An incomplete character waits for its remaining bytes; invalid bytes become
/// U+FFFD (one for each maximal prefix of a character, as Unicode recommends).
struct UTF8Decoder: Sendable {
  private var held: [UInt8] = []

  mutating func append(_ bytes: [UInt8]) -> String {
    let text = held + bytes
    let keeps = Self.openEnd(text)
    held = Array(text.suffix(keeps))
    return String(decoding: text.dropLast(keeps), as: UTF8.self)
  }

  mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }

  /// How many bytes at the end begin a character that more bytes could complete.
  private static func openEnd(_ text: [UInt8]) -> Int {
    for length in 1...3 where length <= text.count {
      let first = text[text.count - length]
      if first & 0xC0 == 0x80 { continue }
      guard first >= 0xC2, first <= 0xF4, length < utf8Length(first) else { return 0 }
      guard length > 1 else { return 1 }
      let second = text[text.count - length + 1]
      let allowed: ClosedRange<UInt8> =
        switch first {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
      return allowed.contains(second) ? length : 0
    }
    return 0
  }
}
