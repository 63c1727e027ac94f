/// A token that is matched in the text before any other processing.
struct AddedToken: Sendable {
  var id: Int
  var content: String
  /// Left out by `decode(…, skipSpecial: true)`.
  var isSpecial = false
  /// Matches only between characters that are not part of a word.
  var singleWord = false
  /// Strips the whitespace before or after it.
  var stripsLeft = false
  var stripsRight = false
  /// Matched in the normalised text, with its content normalised as well.
  var isNormalized = false
}

/// Splits a text at its added tokens.
struct AddedTokenSplitter: Sendable {
  /// Which of several overlapping tokens wins.
  enum Precedence: Sendable {
    /// The leftmost match and, of those that start there, the longest: `tokenizers`.
    case leftmost
    /// The longest token anywhere in the text first, then the next longest in what remains: llama.cpp.
    case longest
  }

  struct Segment {
    var range: Range<Int>
    /// nil for text between tokens.
    var id: Int?
  }

  private let tokens: [AddedToken]
  private let words: [[UInt8]]
  private let trie: ByteTrie
  private let precedence: Precedence

  /// - Parameter words: the spelling of each token in the text.
  init(_ tokens: [AddedToken], words: [[UInt8]], precedence: Precedence) {
    self.tokens = tokens
    self.words = words
    self.precedence = precedence
    var trie = ByteTrie()
    for (place, word) in words.enumerated() { trie.insert(word, value: place) }
    self.trie = trie
  }

  /// The segments in order; text segments are never empty.
  func split(_ text: Bytes) -> [Segment] {
    guard !text.isEmpty else { return [] }
    guard !trie.isEmpty else { return [Segment(range: 0..<text.count, id: nil)] }
    switch precedence {
    case .leftmost: return splitLeftmostFirst(text)
    case .longest: return splitLongestFirst(text)
    }
  }

  private func splitLeftmostFirst(_ text: Bytes) -> [Segment] {
    var segments: [Segment] = []
    var done = 0
    var index = 0
    while index < text.count {
      guard let (count, place) = trie.longestMatch(in: text, at: index) else {
        index += 1
        continue
      }
      let token = tokens[place]
      var (start, end) = (index, index + count)
      index = end
      if token.singleWord {
        if start > 0 && CharacterClass.isWordOrJoiner(text.scalar(before: start).value) { continue }
        if end < text.count && CharacterClass.isWordOrJoiner(text.scalar(at: end).value) { continue }
      }
      if token.stripsLeft {
        while start > done, case (let value, let length) = text.scalar(before: start),
          CharacterClass(of: value).contains(.space)
        {
          start -= length
        }
        start = max(start, done)
      }
      if token.stripsRight {
        while end < text.count, case (let value, let length) = text.scalar(at: end),
          CharacterClass(of: value).contains(.space)
        {
          end += length
        }
      }
      if done < start { segments.append(Segment(range: done..<start, id: nil)) }
      segments.append(Segment(range: min(start, end)..<end, id: token.id))
      done = end
    }
    if done < text.count { segments.append(Segment(range: done..<text.count, id: nil)) }
    return segments
  }

  private func splitLongestFirst(_ text: Bytes) -> [Segment] {
    var occurs = [Bool](repeating: false, count: tokens.count)
    for start in 0..<text.count { trie.visitMatches(in: text, at: start) { occurs[$1] = true } }
    let places = tokens.indices.filter { occurs[$0] }
      .sorted { (words[$1].count, $0) < (words[$0].count, $1) }
    var isTaken = [Bool](repeating: false, count: text.count)
    var found: [Segment] = []
    for place in places {
      let word = words[place]
      var start = 0
      while start + word.count <= text.count {
        var end = start + word.count
        guard text[start] == word[0], text[start..<end].elementsEqual(word),
          !isTaken[start..<end].contains(true)
        else {
          start += 1
          continue
        }
        if tokens[place].stripsRight {
          while end < text.count, !isTaken[end], [9, 10, 11, 12, 13, 32].contains(text[end]) { end += 1 }
        }
        for index in start..<end { isTaken[index] = true }
        found.append(Segment(range: start..<end, id: tokens[place].id))
        start = end
      }
    }
    found.sort { $0.range.lowerBound < $1.range.lowerBound }
    var segments: [Segment] = []
    var done = 0
    for segment in found {
      if done < segment.range.lowerBound {
        segments.append(Segment(range: done..<segment.range.lowerBound, id: nil))
      }
      segments.append(segment)
      done = segment.range.upperBound
    }
    if done < text.count { segments.append(Segment(range: done..<text.count, id: nil)) }
    return segments
  }
}
