/// Splits normalised text into words, which the model encodes one by one.
enum PreTokenizer: Sendable {
  case split(Divider, Behavior, inverted: Bool)
  /// Replaces every byte by its GPT-2 character; splits words as GPT-2 does.
  case byteLevel(addsPrefixSpace: Bool, cutsWords: Bool)
  /// Replaces spaces by `replacement`, and puts one in front.
  case metaspace(replacement: [UInt8], Prefix, splits: Bool)

  /// What matches in a text.
  enum Divider: Sendable {
    case words(WordSplitter)
    case pattern(Pattern)
    case characters(@Sendable (UInt32) -> Bool)
  }

  /// What happens to the matches; names as in tokenizer.json.
  enum Behavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  /// Which pieces of text get a prefix.
  enum Prefix: String, Sendable {
    case always, never
    /// Only the piece at the start of the text.
    case first
  }

  func callAsFunction(_ text: PreTokenizedText) -> PreTokenizedText {
    switch self {
    case .split(let divider, let behavior, let inverted):
      return text.cut { Self.cuts($0, divider, behavior, inverted) }
    case .byteLevel(let addsPrefixSpace, let cutsWords):
      var text = text
      if addsPrefixSpace { text = text.rewritten { $0.first == 0x20 ? Array($0) : [0x20] + $0 } }
      if cutsWords { text = text.cut { Self.cuts($0, .words(.gpt2), .isolated, false) } }
      return text.rewritten { piece in
        var result: [UInt8] = []
        result.reserveCapacity(piece.count * 2)
        for byte in piece { ByteLevel.append(byte, to: &result) }
        return result
      }
    case .metaspace(let replacement, let prefix, let splits):
      let rewritten = text.rewritten { piece, isFirst in
        let body = Normalizer.replacing(0x20, in: piece, with: replacement)
        let isPrefixed = prefix == .always || prefix == .first && isFirst
        return isPrefixed && !body.starts(with: replacement) ? replacement + body : body
      }
      guard splits else { return rewritten }
      let pattern = Divider.pattern(Pattern(literal: String(decoding: replacement, as: UTF8.self)))
      return rewritten.cut { Self.cuts($0, pattern, .mergedWithNext, false) }
    }
  }

  /// The pieces of a text that remain.
  private static func cuts(
    _ text: Bytes, _ divider: Divider, _ behavior: Behavior, _ inverted: Bool
  ) -> [Range<Int>] {
    var parts: [(range: Range<Int>, isMatch: Bool)] = []
    var done = 0
    func add(_ match: Range<Int>) {
      if done < match.lowerBound { parts.append((done..<match.lowerBound, inverted)) }
      parts.append((match, !inverted))
      done = match.upperBound
    }
    switch divider {
    case .words(let splitter):
      for end in splitter.ends(in: text) { add(done..<end) }
    case .pattern(let pattern):
      for range in pattern.matches(in: text) { add(range) }
    case .characters(let isMatch):
      var index = 0
      while index < text.count {
        let (value, length) = text.scalar(at: index)
        if isMatch(value) { add(index..<index + length) }
        index += length
      }
    }
    if done < text.count { parts.append((done..<text.count, inverted)) }
    return joined(parts, behavior).filter { !$0.isEmpty }
  }

  private static func joined(
    _ parts: [(range: Range<Int>, isMatch: Bool)], _ behavior: Behavior
  ) -> [Range<Int>] {
    var result: [Range<Int>] = []
    var followsMatch = false
    switch behavior {
    case .isolated: return parts.map(\.range)
    case .removed: return parts.filter { !$0.isMatch }.map(\.range)
    case .contiguous:
      for (range, isMatch) in parts {
        if isMatch == followsMatch, let last = result.popLast() {
          result.append(last.lowerBound..<range.upperBound)
        } else {
          result.append(range)
        }
        followsMatch = isMatch
      }
      return result
    case .mergedWithPrevious:
      for (range, isMatch) in parts {
        if isMatch, !followsMatch, let last = result.popLast() {
          result.append(last.lowerBound..<range.upperBound)
        } else {
          result.append(range)
        }
        followsMatch = isMatch
      }
      return result
    case .mergedWithNext:
      for (range, isMatch) in parts.reversed() {
        if isMatch, !followsMatch, let last = result.popLast() {
          result.append(range.lowerBound..<last.upperBound)
        } else {
          result.append(range)
        }
        followsMatch = isMatch
      }
      return result.reversed()
    }
  }
}

/// A text and its pieces, in order.
struct PreTokenizedText {
  var bytes: [UInt8]
  var pieces: [Range<Int>]
  /// Whether the first piece starts where the whole text does.
  var isFirst: Bool

  init(_ bytes: [UInt8], isFirst: Bool) {
    self.bytes = bytes
    self.isFirst = isFirst
    pieces = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// Splits every piece; the ranges are relative to the piece.
  func cut(_ cuts: (Bytes) -> [Range<Int>]) -> PreTokenizedText {
    var result = self
    result.pieces = []
    bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces {
        for range in cuts(Bytes(rebasing: bytes[piece])) {
          result.pieces.append(piece.lowerBound + range.lowerBound..<piece.lowerBound + range.upperBound)
        }
      }
    }
    // The piece at the start may have been removed.
    if let first = pieces.first, result.pieces.first?.lowerBound != first.lowerBound {
      result.isFirst = false
    }
    return result
  }

  func rewritten(_ rewrite: (ArraySlice<UInt8>) -> [UInt8]) -> PreTokenizedText {
    rewritten { piece, _ in rewrite(piece) }
  }

  /// Replaces the content of every piece.
  func rewritten(_ rewrite: (ArraySlice<UInt8>, _ isFirst: Bool) -> [UInt8]) -> PreTokenizedText {
    var result = PreTokenizedText([], isFirst: isFirst)
    result.bytes.reserveCapacity(bytes.count + bytes.count / 2)
    for (place, piece) in pieces.enumerated() {
      let start = result.bytes.count
      result.bytes.append(contentsOf: rewrite(bytes[piece], place == 0 && isFirst))
      if result.bytes.count > start { result.pieces.append(start..<result.bytes.count) }
    }
    return result
  }
}
