// Python's string methods. Python counts, compares and slices by code point; Swift by grapheme cluster and up
// to canonical equivalence. So nothing here uses `String`'s `Character`, `==` or `hasPrefix`.

extension String {
  init(scalars: some Sequence<Unicode.Scalar>) {
    self.init()
    unicodeScalars.append(contentsOf: scalars)
  }

  var scalarCount: Int { unicodeScalars.count }

  func same(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }

  func starts(withText prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

  func ends(withText suffix: String) -> Bool {
    utf8.count >= suffix.utf8.count && utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
  }

  /// The byte offset of the first occurrence of `part` at or after byte `start`.
  func byteOffset(of part: String, from start: Int = 0) -> Int? {
    var (text, part) = (self, part)
    return text.withUTF8 { text in part.withUTF8 { part in Self.search(text, for: part, from: start) } }
  }

  /// Knuth-Morris-Pratt search: linear in the sum of the lengths, even for hostile templates.
  private static func search(
    _ text: UnsafeBufferPointer<UInt8>, for part: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> Int? {
    guard start <= text.count, text.count - start >= part.count else { return nil }
    if part.isEmpty { return start }
    // borders[i]: length of the longest proper prefix of the part that ends at its byte i.
    var borders = [Int](repeating: 0, count: part.count)
    var matched = 0
    for index in stride(from: 1, to: part.count, by: 1) {
      while matched > 0, part[index] != part[matched] { matched = borders[matched - 1] }
      if part[index] == part[matched] { matched += 1 }
      borders[index] = matched
    }
    matched = 0
    for index in start..<text.count {
      while matched > 0, text[index] != part[matched] { matched = borders[matched - 1] }
      if text[index] == part[matched] { matched += 1 }
      if matched == part.count { return index + 1 - matched }
    }
    return nil
  }

  /// The byte offsets of all non-overlapping occurrences of `part`, which must not be empty.
  func byteOffsets(of part: String, limit: Int = .max) -> [Int] {
    var (text, part) = (self, part)
    text.makeContiguousUTF8()
    part.makeContiguousUTF8()
    var offsets: [Int] = []
    var start = 0
    while offsets.count < limit, let found = text.byteOffset(of: part, from: start) {
      offsets.append(found)
      start = found + part.utf8.count
    }
    return offsets
  }

  func bytes(_ range: Range<Int>) -> String {
    String(
      self[
        utf8.index(
          startIndex, offsetBy: range.lowerBound)..<utf8.index(startIndex, offsetBy: range.upperBound)])
  }

  /// The pieces between separators of `width` bytes at `offsets`.
  func cut(at offsets: [Int], width: Int) -> [String] {
    var text = self
    return text.withUTF8 { bytes in
      var pieces: [String] = []
      var start = 0
      for offset in offsets + [bytes.count] {
        pieces.append(String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self))
        start = min(offset + width, bytes.count)
      }
      return pieces
    }
  }

  func replacing(text old: String, with new: String, limit: Int) -> String {
    if old.isEmpty {
      var result = ""
      var left = limit
      for scalar in unicodeScalars {
        if left > 0 {
          result += new
          left -= 1
        }
        result.unicodeScalars.append(scalar)
      }
      return left > 0 ? result + new : result
    }
    return cut(at: byteOffsets(of: old, limit: limit), width: old.utf8.count).joined(separator: new)
  }

  /// `strip`, `lstrip`, `rstrip`: removes whitespace, or any of `characters`.
  func stripped(_ characters: String? = nil, left: Bool = true, right: Bool = true) -> String {
    let set = characters.map { Set($0.unicodeScalars) }
    func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isPythonSpace }
    var rest = unicodeScalars[...]
    if left { rest = rest.drop(while: goes) }
    if right { while let last = rest.last, goes(last) { rest.removeLast() } }
    return String(rest)
  }

  /// `split()` and `rsplit()` without a separator.
  func splitAtSpace(limit: Int, fromRight: Bool) -> [String] {
    let scalars = Array(unicodeScalars)
    var pieces: [String] = []
    if fromRight {
      var end = scalars.count
      while true {
        while end > 0, scalars[end - 1].isPythonSpace { end -= 1 }
        guard end > 0 else { break }
        var start = end
        if pieces.count < limit {
          while start > 0, !scalars[start - 1].isPythonSpace { start -= 1 }
        } else {
          start = 0
        }
        pieces.append(String(scalars: scalars[start..<end]))
        end = start
      }
      return pieces.reversed()
    }
    var start = 0
    while true {
      while start < scalars.count, scalars[start].isPythonSpace { start += 1 }
      guard start < scalars.count else { break }
      var end = start
      if pieces.count < limit {
        while end < scalars.count, !scalars[end].isPythonSpace { end += 1 }
      } else {
        end = scalars.count
      }
      pieces.append(String(scalars: scalars[start..<end]))
      start = end
    }
    return pieces
  }

  func lines(keepingEnds: Bool = false) -> [String] {
    var lines: [String] = []
    var line = String.UnicodeScalarView()
    var afterReturn = false
    func isEnd(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
      default: false
      }
    }
    var scalars = unicodeScalars.makeIterator()
    var next = scalars.next()
    while let scalar = next {
      next = scalars.next()
      afterReturn = scalar == "\r" && next == "\n"
      if !isEnd(scalar) {
        line.append(scalar)
        continue
      }
      if keepingEnds { line.append(scalar) }
      if afterReturn {
        if keepingEnds { line.append("\n") }
        next = scalars.next()
      }
      lines.append(String(line))
      line = String.UnicodeScalarView()
    }
    if !line.isEmpty { lines.append(String(line)) }
    return lines
  }

  var capitalised: String {
    guard let first = unicodeScalars.first else { return self }
    return first.properties.titlecaseMapping + String(unicodeScalars.dropFirst()).lowercased()
  }

  /// `str.title()`: uppercases the first letter of each run of letters and lowercases the rest.
  var titled: String {
    var result = ""
    var inWord = false
    for scalar in unicodeScalars {
      result += inWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
      inWord = scalar.properties.isCased
    }
    return result
  }

  /// `islower()` and `isupper()`: there are cased letters, and all of them have this case.
  func hasOnlyCase(lower: Bool) -> Bool {
    var found = false
    for scalar in unicodeScalars where scalar.properties.isCased {
      guard lower ? scalar.properties.isLowercase : scalar.properties.isUppercase else { return false }
      found = true
    }
    return found
  }

  func hasOnly(_ condition: (Unicode.Scalar) -> Bool) -> Bool {
    !isEmpty && unicodeScalars.allSatisfy(condition)
  }

  var htmlEscaped: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "'": result += "&#39;"
      case "\"": result += "&#34;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// The quoted form that `repr` writes.
  var pythonRepresentation: String {
    let quote: Unicode.Scalar = unicodeScalars.contains("'") && !unicodeScalars.contains("\"") ? "\"" : "'"
    var result = String(scalars: [quote])
    for scalar in unicodeScalars {
      switch scalar {
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "\\": result += "\\\\"
      case quote: result += "\\" + String(quote)
      case _ where scalar.isPrintable: result.unicodeScalars.append(scalar)
      default:
        let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        let digits = String(scalar.value, radix: 16)
        result += "\\\(letter)" + String(repeating: "0", count: width - digits.count) + digits
      }
    }
    result.unicodeScalars.append(quote)
    return result
  }
}

extension Unicode.Scalar {
  /// `str.isspace()`, which also defines `\s` in Python's regular expressions.
  var isPythonSpace: Bool {
    (0x1C...0x1F).contains(value) || properties.isWhitespace
  }

  var isDecimalDigit: Bool { properties.generalCategory == .decimalNumber }

  var isLetter: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  fileprivate var isPrintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: self == " "
    default: true
    }
  }
}
