package import LimnCore

/// Keeps text that is data from becoming control tokens.
///
/// What people write may spell a special token (`<|end|>`) or the place of a picture (`<image>`). A chat template then
/// writes the same spellings around it and means them, so that the tokenizer could not tell the two apart. Therefore
/// each spelling in data gets a mark after its first character before the template sees it. Neither the template nor
/// the search for added tokens finds it then, and `Tokenizer.encode` removes the mark afterwards: the text is tokenised
/// as if there were no special tokens, as transformers does with `split_special_tokens`.
package struct SpecialSpellings: Sendable {
  private let tokenizer: Tokenizer
  private var words = ByteTrie()
  /// For special tokens that are looked for in normalised text: what their first characters are normalised to.
  private var normalizedStarts: [[UInt8]] = []

  /// The special tokens of a tokenizer, those that end answers, and `<image>`.
  package init(_ tokenizer: Tokenizer) {
    self.tokenizer = tokenizer
    words.insert(Array(ChatTemplate.imageMark.utf8), value: 0)
    for (id, token) in tokenizer.addedTokens
    where token.isSpecial || tokenizer.endOfGenerationIDs.contains(id) {
      insert(token)
    }
  }

  /// Adds the added tokens in a text that a template wrote, except words and white space: not all files mark tokens
  /// like `<|user|>` as special.
  package mutating func insert(tokensOf text: String) {
    for id in Set(tokenizer.encode(text, addSpecial: false)) {
      guard let token = tokenizer.addedTokens[id], token.content.count > 1,
        token.content.contains(where: { $0.isPunctuation || $0.isSymbol })
      else { continue }
      insert(token)
    }
  }

  private mutating func insert(_ token: AddedToken) {
    words.insert(Array(token.content.utf8), value: 0)
    if token.isNormalized, let first = token.content.unicodeScalars.first {
      normalizedStarts.append(normalized(Array(String(first).utf8)))
    }
  }

  private func normalized(_ text: [UInt8]) -> [UInt8] { tokenizer.normalizers(text, isFirst: true).text }

  // MARK: Marks

  /// Unicode guarantees that these 32 code points never stand for a character.
  private static let noncharacters = (0xFDD0 as UInt32)...0xFDEF

  /// A character that stands in none of these texts.
  /// - Throws: bad data where they hold all 32 that can be it.
  package static func mark(for texts: [String]) throws(LimnError) -> Unicode.Scalar {
    var taken: Set<UInt32> = []
    for text in texts {
      for scalar in text.unicodeScalars where noncharacters.contains(scalar.value) { taken.insert(scalar.value) }
    }
    guard let free = noncharacters.first(where: { !taken.contains($0) }), let mark = Unicode.Scalar(free) else {
      throw .badData(
        code: .invalidPrompt, "the text holds all characters that Unicode leaves without a meaning",
        expected: "one of U+FDD0 to U+FDEF unused", remedy: "leave them out")
    }
    return mark
  }

  /// The text with a mark after the first character of each spelling, and of the beginning of one at the text's end:
  /// what follows in the prompt might complete it.
  package func marking(_ text: String, with mark: Unicode.Scalar) -> String {
    var text = text
    let mark = Array(String(mark).utf8)
    let marked: [UInt8]? = text.withUTF8 { text in
      let trimmed = Bytes(rebasing: text[..<text.endOfText])
      var result: [UInt8] = []
      var done = 0
      var index = 0
      while index < text.count {
        let length = min(utf8Length(text[index]), text.count - index)
        if words.longestMatch(in: text, at: index) != nil || words.beginsWord(text, at: index)
          || index < trimmed.count && words.beginsWord(trimmed, at: index)
          || !normalizedStarts.isEmpty && startsNormalized(text[index..<index + length])
        {
          result += text[done..<index + length] + mark
          done = index + length
        }
        index += length
      }
      return done == 0 ? nil : result + text[done...]
    }
    return marked.map { String(decoding: $0, as: UTF8.self) } ?? text
  }

  private func startsNormalized(_ character: Slice<Bytes>) -> Bool {
    let text = normalized(Array(character))
    return normalizedStarts.contains { !$0.isEmpty && text.starts(with: $0) }
  }
}

extension Bytes {
  /// The end of the text without its trailing white space.
  fileprivate var endOfText: Int {
    var end = count
    while end > 0, case (let value, let length) = scalar(before: end), CharacterClass(of: value).contains(.space) {
      end -= length
    }
    return end
  }
}
