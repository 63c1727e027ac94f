/// Splits text into words by the best-known patterns, without a matcher, because it runs on every prompt.
enum WordSplitter: Sendable {
  /// GPT-2, Phi-2, CodeGen:
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  case gpt2
  /// Llama 3 (`digits` 3) and Qwen 2 (1):
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  /// `longS`: whether "'ſ" is a contraction. It is in Oniguruma, to which "ſ" is an s, but not in llama.cpp.
  case llama3(digits: Int, longS: Bool)

  static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The splitter for a pattern's text; nil if the pattern is not one of these.
  init?(pattern: String) {
    switch pattern {
    case Self.gpt2Pattern: self = .gpt2
    case Self.llama3Pattern(digits: 3): self = .llama3(digits: 3, longS: true)
    case Self.llama3Pattern(digits: 1): self = .llama3(digits: 1, longS: true)
    default: return nil
    }
  }

  /// - Parameter digits: 3 or 1.
  static func llama3Pattern(digits: Int) -> String {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)" + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"# + (digits == 3 ? "{1,3}" : "")
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The end of each word. Every character belongs to a word.
  func ends(in text: Bytes) -> [Int] {
    var ends: [Int] = []
    ends.reserveCapacity(text.count / 4 + 1)
    var index = 0
    while index < text.count {
      switch self {
      case .gpt2: index = Self.gpt2End(text, index)
      case .llama3(let digits, let longS): index = Self.llama3End(text, index, digits: digits, longS: longS)
      }
      ends.append(index)
    }
    return ends
  }

  private static func gpt2End(_ text: Bytes, _ start: Int) -> Int {
    if text[start] == 0x27, let end = contractionEnd(text, start, ignoringCase: false, longS: false) {
      return end
    }
    let word = text[start] == 0x20 && start + 1 < text.count ? start + 1 : start
    let kind = CharacterClass(of: text.scalar(at: word).value)
    if !kind.contains(.space) {
      let wanted = kind.intersection(.lettersNumbersSpaces)
      return end(of: text, from: word) { $0.intersection(.lettersNumbersSpaces) == wanted }
    }
    return spacesEnd(text, start)
  }

  private static func llama3End(_ text: Bytes, _ start: Int, digits: Int, longS: Bool) -> Int {
    if text[start] == 0x27, let end = contractionEnd(text, start, ignoringCase: true, longS: longS) {
      return end
    }
    let (value, length) = text.scalar(at: start)
    let kind = CharacterClass(of: value)
    if kind.contains(.letter) { return end(of: text, from: start) { $0.contains(.letter) } }
    if kind.contains(.number) {
      var (count, index) = (0, start)
      while count < digits, index < text.count, case (let value, let length) = text.scalar(at: index),
        CharacterClass(of: value).contains(.number)
      {
        index += length
        count += 1
      }
      return index
    }
    let next = start + length
    let nextKind = next < text.count ? CharacterClass(of: text.scalar(at: next).value) : nil
    if !kind.contains(.newline), let nextKind, nextKind.contains(.letter) {
      return end(of: text, from: next) { $0.contains(.letter) }
    }
    let isOther = kind.isDisjoint(with: .lettersNumbersSpaces)
    let spacedOther = value == 0x20 && nextKind?.isDisjoint(with: .lettersNumbersSpaces) == true
    if isOther || spacedOther {
      let others = end(of: text, from: isOther ? start : next) { $0.isDisjoint(with: .lettersNumbersSpaces) }
      return end(of: text, from: others) { $0.contains(.newline) }
    }
    // Whitespace extends to its last line break, if it has one.
    var lastBreak: Int?
    var index = start
    while index < text.count, case (let value, let length) = text.scalar(at: index),
      case let kind = CharacterClass(of: value),
      kind.contains(.space)
    {
      index += length
      if kind.contains(.newline) { lastBreak = index }
    }
    return lastBreak ?? spacesEnd(text, start)
  }

  /// Whitespace without its last character, which belongs to the next word; all of it at the end of the text.
  private static func spacesEnd(_ text: Bytes, _ start: Int) -> Int {
    let spaces = end(of: text, from: start) { $0.contains(.space) }
    guard spaces < text.count else { return spaces }
    let last = spaces - text.scalar(before: spaces).length
    return last > start ? last : spaces
  }

  @inline(__always)
  private static func end(of text: Bytes, from start: Int, while isWanted: (CharacterClass) -> Bool) -> Int {
    var index = start
    while index < text.count, case (let value, let length) = text.scalar(at: index),
      isWanted(CharacterClass(of: value))
    {
      index += length
    }
    return index
  }

  /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`.
  private static func contractionEnd(
    _ text: Bytes, _ start: Int, ignoringCase: Bool, longS: Bool
  ) -> Int? {
    func letter(_ index: Int) -> UInt8 {
      guard index < text.count else { return 0 }
      return ignoringCase && (0x41...0x5A).contains(text[index]) ? text[index] | 0x20 : text[index]
    }
    switch (letter(start + 1), letter(start + 2)) {
    case (0x73, _), (0x74, _), (0x6D, _), (0x64, _): return start + 2  // s t m d
    case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return start + 3  // re ve ll
    case (0xC5, 0xBF) where longS: return start + 3  // ſ
    default: return nil
    }
  }
}
