/// What `SpecialSpellings` wrote into a text, as the tokenizer meets it: bytes that are not part of the text.
struct LiteralMark {
  private let bytes: [UInt8]

  init(_ mark: Unicode.Scalar?) { bytes = mark.map { Array(String($0).utf8) } ?? [] }

  var isNone: Bool { bytes.isEmpty }

  func stands(in text: Bytes, at index: Int) -> Bool {
    !isNone && index + bytes.count <= text.count && text[index] == bytes[0] && text[index...].starts(with: bytes)
  }

  func stands(in text: [UInt8]) -> Bool {
    guard !isNone else { return false }
    return text.withUnsafeBufferPointer { text in text.indices.contains { stands(in: text, at: $0) } }
  }

  func removed(from text: [UInt8]) -> [UInt8] {
    text.withUnsafeBufferPointer { text in
      var result: [UInt8] = []
      result.reserveCapacity(text.count)
      var index = 0
      while index < text.count {
        if stands(in: text, at: index) {
          index += bytes.count
        } else {
          result.append(text[index])
          index += 1
        }
      }
      return result
    }
  }
}

extension [AddedTokenSplitter.Segment] {
  /// The same, but a token right before a mark, which has one character then, becomes part of the text around it.
  func joined(in text: Bytes, _ mark: LiteralMark) -> [AddedTokenSplitter.Segment] {
    guard !mark.isNone, contains(where: { $0.id != nil && mark.stands(in: text, at: $0.range.upperBound) }) else {
      return self
    }
    return reduce(into: []) { result, segment in
      let isToken = segment.id != nil && !mark.stands(in: text, at: segment.range.upperBound)
      if !isToken, let last = result.last, last.id == nil {
        result[result.count - 1].range = last.range.lowerBound..<segment.range.upperBound
      } else {
        result.append(AddedTokenSplitter.Segment(range: segment.range, id: isToken ? segment.id : nil))
      }
    }
  }
}
