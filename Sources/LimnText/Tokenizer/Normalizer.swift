import Foundation
import LimnCore

/// A transformation of the text before it is split into words. Texts are UTF-8 bytes.
enum Normalizer: Sendable {
  /// Inserts text before the first character, if there is one.
  case prepend([UInt8])
  case replace(Pattern, with: [UInt8])
  /// `replace` with a single byte as its pattern: SentencePiece's space.
  case replaceByte(UInt8, with: [UInt8])
  case unicode(UnicodeForm)
  case lowercase
  case strip(left: Bool, right: Bool)
  case stripAccents
  /// Replaces every byte by its GPT-2 character.
  case byteLevel
  case sentencePiece(SentencePieceNormalizer)

  enum UnicodeForm: String, Sendable {
    case nfc = "NFC"
    case nfd = "NFD"
    case nfkc = "NFKC"
    case nfkd = "NFKD"
  }

  /// - Parameter isFirst: whether the text starts where the whole text does; set to false if its first
  ///   character is removed.
  func callAsFunction(_ text: [UInt8], isFirst: inout Bool) -> [UInt8] {
    switch self {
    case .prepend(let prefix): return text.isEmpty ? text : prefix + text
    case .replaceByte(let byte, let content): return Self.replacing(byte, in: text[...], with: content)
    case .replace(let pattern, let content):
      // `tokenizers` places the replacement of several characters at the position of the last one.
      if let first = text.withUnsafeBufferPointer({ pattern.matches(in: $0).first }), first.lowerBound == 0,
        !first.isEmpty, first.count > utf8Length(text[0])
      {
        isFirst = false
      }
      return pattern.replacingMatches(in: text, with: content)
    case .unicode(let form):
      if text.allSatisfy({ $0 < 0x80 }) { return text }
      let string = String(decoding: text, as: UTF8.self)
      switch form {
      case .nfc: return Array(string.precomposedStringWithCanonicalMapping.utf8)
      case .nfd: return Array(string.decomposedStringWithCanonicalMapping.utf8)
      case .nfkc: return Array(string.precomposedStringWithCompatibilityMapping.utf8)
      case .nfkd: return Array(string.decomposedStringWithCompatibilityMapping.utf8)
      }
    case .lowercase:
      var result = ""
      for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
        result += scalar.properties.lowercaseMapping
      }
      return Array(result.utf8)
    case .strip(let left, let right): return Self.stripped(text, left: left, right: right, &isFirst)
    case .stripAccents:
      let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
      func isMark(_ scalar: Unicode.Scalar) -> Bool {
        GeneralCategory.mask(of: scalar) & GeneralCategory.mark != 0
      }
      if let first = scalars.first, isMark(first) { isFirst = false }
      return Array(String(String.UnicodeScalarView(scalars.filter { !isMark($0) })).utf8)
    case .byteLevel:
      var result: [UInt8] = []
      for byte in text { ByteLevel.append(byte, to: &result) }
      return result
    case .sentencePiece(let normalizer): return normalizer(text, isFirst: isFirst)
    }
  }

  static func replacing(_ byte: UInt8, in text: ArraySlice<UInt8>, with content: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 2)
    for next in text {
      if next == byte { result.append(contentsOf: content) } else { result.append(next) }
    }
    return result
  }

  private static func stripped(
    _ text: [UInt8], left: Bool, right: Bool, _ isFirst: inout Bool
  ) -> [UInt8] {
    text.withUnsafeBufferPointer { text in
      var (start, end) = (0, text.count)
      while left, start < end, case (let value, let length) = text.scalar(at: start),
        CharacterClass(of: value).contains(.space)
      {
        start += length
      }
      while right, end > start, case (let value, let length) = text.scalar(before: end),
        CharacterClass(of: value).contains(.space)
      {
        end -= length
      }
      if start > 0 { isFirst = false }
      return Array(text[start..<end])
    }
  }
}

extension [Normalizer] {
  /// The normalised text, and whether it still starts where the whole text does.
  func callAsFunction(_ text: [UInt8], isFirst: Bool) -> (text: [UInt8], isFirst: Bool) {
    var (text, isFirst) = (text, isFirst)
    for normalizer in self { text = normalizer(text, isFirst: &isFirst) }
    return (text, isFirst)
  }
}

extension Pattern {
  func replacingMatches(in text: [UInt8], with content: [UInt8]) -> [UInt8] {
    text.withUnsafeBufferPointer { text in
      var result: [UInt8] = []
      var done = 0
      for range in matches(in: text) {
        result.append(contentsOf: text[done..<range.lowerBound])
        result.append(contentsOf: content)
        done = range.upperBound
      }
      result.append(contentsOf: text[done...])
      return result
    }
  }
}

/// SentencePiece's own normaliser, as a `tokenizer.model` describes it. Its character map must be empty.
struct SentencePieceNormalizer: Sendable {
  var addsDummyPrefix = true
  var removesExtraSpaces = false
  var escapesSpaces = true
  /// Puts the prefix only before the first segment, not after special tokens (`"legacy": false`).
  var prefixesOnlyFirst = false

  func callAsFunction(_ text: [UInt8], isFirst: Bool) -> [UInt8] {
    var words = text[...]
    if removesExtraSpaces {
      words = words.drop { $0 == 0x20 }
      while words.last == 0x20 { words.removeLast() }
    }
    guard !words.isEmpty else { return [] }
    let space: [UInt8] = escapesSpaces ? metaspace : [0x20]
    var result: [UInt8] = []
    result.reserveCapacity(words.count + words.count / 2)
    if addsDummyPrefix && (isFirst || !prefixesOnlyFirst) { result.append(contentsOf: space) }
    var followsSpace = false
    for byte in words {
      if byte == 0x20 {
        if followsSpace && removesExtraSpaces { continue }
        result.append(contentsOf: space)
      } else {
        result.append(byte)
      }
      followsSpace = byte == 0x20
    }
    return result
  }
}

/// "▁", U+2581, which represents a space in SentencePiece vocabularies.
let metaspace: [UInt8] = [0xE2, 0x96, 0x81]
