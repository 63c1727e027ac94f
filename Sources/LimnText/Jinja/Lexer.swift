import LimnCore

/// One token of a template.
struct Token: Sendable {
  enum Kind: Sendable, Equatable {
    case text(String)
    case beginBlock, endBlock, beginOutput, endOutput
    case name(String)
    case string(String)
    case int(Int)
    case float(Double)
    case symbol(String)
    case end
  }
  let kind: Kind
  let line: Int
}

/// Splits a template into tokens, with the whitespace rules that transformers sets:
/// - `trim_blocks` removes the newline after a block or comment;
/// - `lstrip_blocks` removes the blanks before a block or comment that starts its line;
/// - `-` removes all whitespace on its side; `+` keeps what the first two rules would remove;
/// - one newline at the end of the file is removed.
struct Lexer {
  private let source: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  private var tokens: [Token] = []
  /// Whether the text consumed last ended with a newline.
  private var lineStarting = true

  static func tokens(of text: String) throws(LimnError) -> [Token] {
    var lexer = Lexer(text)
    try lexer.run()
    lexer.tokens.append(Token(kind: .end, line: lexer.line))
    return lexer.tokens
  }

  private init(_ text: String) {
    var scalars: [Unicode.Scalar] = []
    scalars.reserveCapacity(text.utf8.count)
    var afterReturn = false
    for scalar in text.unicodeScalars {
      if !(scalar == "\n" && afterReturn) { scalars.append(scalar == "\r" ? "\n" : scalar) }
      afterReturn = scalar == "\r"
    }
    if scalars.last == "\n" { scalars.removeLast() }
    source = scalars
  }

  private mutating func run() throws(LimnError) {
    while position < source.count {
      guard let begin = nextTag() else {
        emitText(position..<source.count)
        return advance(to: source.count)
      }
      let kind = source[begin + 1]
      var inside = begin + 2
      let sign =
        inside < source.count && (source[inside] == "-" || source[inside] == "+") ? source[inside] : " "
      if sign != " " { inside += 1 }
      emitText(position..<textEnd(before: begin, sign: sign, isOutput: kind == "{"))
      advance(to: inside)
      switch kind {
      case "#": try comment()
      case "{": try tag(begin: .beginOutput, end: .endOutput)
      default:
        if let content = endOfRawTag(inside) {
          try raw(from: content)
        } else {
          try tag(begin: .beginBlock, end: .endBlock)
        }
      }
    }
  }

  private func nextTag() -> Int? {
    var index = position
    while index + 1 < source.count {
      if source[index] == "{", "{%#".unicodeScalars.contains(source[index + 1]) { return index }
      index += 1
    }
    return nil
  }

  /// Where the text before a tag ends after the tag has stripped its whitespace.
  private func textEnd(before tag: Int, sign: Unicode.Scalar, isOutput: Bool) -> Int {
    var end = tag
    if sign == "-" {
      while end > position, source[end - 1].isPythonSpace { end -= 1 }
      return end
    }
    if sign == "+" || isOutput { return tag }
    while end > position, source[end - 1] != "\n" {
      guard source[end - 1].isPythonSpace else { return tag }
      end -= 1
    }
    return end > position || lineStarting ? end : tag
  }

  private mutating func emitText(_ range: Range<Int>) {
    if !range.isEmpty { tokens.append(Token(kind: .text(String(scalars: source[range])), line: line)) }
  }

  private mutating func advance(to end: Int) {
    for scalar in source[position..<end] where scalar == "\n" { line += 1 }
    if end > position { lineStarting = source[end - 1] == "\n" }
    position = end
  }

  private func matches(_ text: String, at index: Int) -> Bool {
    var index = index
    for scalar in text.unicodeScalars {
      guard index < source.count, source[index] == scalar else { return false }
      index += 1
    }
    return true
  }

  private func skippingSpace(_ index: Int) -> Int {
    var index = index
    while index < source.count, source[index].isPythonSpace { index += 1 }
    return index
  }

  /// The position after an end mark (with its sign) at `index`; nil if there is none.
  private func afterEndMark(_ mark: String, at index: Int) -> Int? {
    if matches("-" + mark, at: index) { return skippingSpace(index + 3) }
    if mark != "}}", matches("+" + mark, at: index) { return index + 3 }
    guard matches(mark, at: index) else { return nil }
    return mark != "}}" && matches("\n", at: index + 2) ? index + 3 : index + 2
  }

  private mutating func comment() throws(LimnError) {
    var index = position
    while index < source.count {
      if let after = afterEndMark("#}", at: index) { return advance(to: after) }
      index += 1
    }
    throw error("a comment without end")
  }

  private func endOfRawTag(_ start: Int) -> Int? {
    var index = skippingSpace(start)
    guard matches("raw", at: index) else { return nil }
    index = skippingSpace(index + 3)
    if matches("-%}", at: index) { return skippingSpace(index + 3) }
    return matches("%}", at: index) ? index + 2 : nil
  }

  private mutating func raw(from start: Int) throws(LimnError) {
    advance(to: start)
    if position == source.count { return }
    var index = position
    while index + 1 < source.count {
      if source[index] == "{", source[index + 1] == "%" {
        var inside = index + 2
        let sign =
          inside < source.count && (source[inside] == "-" || source[inside] == "+") ? source[inside] : " "
        if sign != " " { inside += 1 }
        inside = skippingSpace(inside)
        if matches("endraw", at: inside), let after = afterEndMark("%}", at: skippingSpace(inside + 6)) {
          emitText(position..<textEnd(before: index, sign: sign, isOutput: false))
          return advance(to: after)
        }
      }
      index += 1
    }
    throw error("a raw block without end")
  }

  // MARK: Inside a tag

  private mutating func tag(begin: Token.Kind, end: Token.Kind) throws(LimnError) {
    tokens.append(Token(kind: begin, line: line))
    let mark = end == .endOutput ? "}}" : "%}"
    var open: [Unicode.Scalar] = []
    while position < source.count {
      if open.isEmpty, let after = afterEndMark(mark, at: position) {
        tokens.append(Token(kind: end, line: line))
        return advance(to: after)
      }
      let scalar = source[position]
      if scalar.isPythonSpace {
        advance(to: skippingSpace(position))
      } else if scalar == "'" || scalar == "\"" {
        try string(quote: scalar)
      } else if ("0"..."9").contains(scalar) {
        try number()
      } else if scalar == "_" || scalar.properties.isXIDContinue {
        try name()
      } else {
        try symbol(&open)
      }
    }
    throw error("the template ends inside a tag")
  }

  private mutating func symbol(_ open: inout [Unicode.Scalar]) throws(LimnError) {
    let scalar = source[position]
    let two = ["//", "**", "==", "!=", ">=", "<="].first { matches($0, at: position) }
    guard two != nil || "+-/*%~[](){}><=.:|,;".unicodeScalars.contains(scalar) else {
      throw error("an unexpected character", found: String(scalar))
    }
    switch scalar {
    case "{": open.append("}")
    case "(": open.append(")")
    case "[": open.append("]")
    case "}", ")", "]":
      guard open.popLast() == scalar else {
        throw error("an unmatched bracket", found: String(scalar))
      }
    default: break
    }
    let text = two ?? String(scalar)
    tokens.append(Token(kind: .symbol(text), line: line))
    advance(to: position + text.unicodeScalars.count)
  }

  private mutating func name() throws(LimnError) {
    var end = position
    while end < source.count, source[end] == "_" || source[end].properties.isXIDContinue { end += 1 }
    guard source[position] == "_" || source[position].properties.isXIDStart else {
      throw error("an invalid character in a name", found: String(source[position]))
    }
    tokens.append(Token(kind: .name(String(scalars: source[position..<end])), line: line))
    advance(to: end)
  }

  /// Integers (decimal, `0x`, `0o`, `0b`) and decimal fractions, with `_` allowed between digits.
  private mutating func number() throws(LimnError) {
    func digits(_ start: Int, _ allowed: String = "0123456789") -> Int {
      var index = start
      while index < source.count,
        allowed.unicodeScalars.contains(source[index])
          || (source[index] == "_" && index > start && index + 1 < source.count
            && allowed.unicodeScalars.contains(source[index + 1]))
      { index += 1 }
      return index
    }
    func text(_ range: Range<Int>) -> String { String(scalars: source[range].filter { $0 != "_" }) }

    for (prefixes, allowed, radix) in [
      (["0x", "0X"], "0123456789abcdefABCDEF", 16), (["0o", "0O"], "01234567", 8), (["0b", "0B"], "01", 2),
    ] where prefixes.contains(where: { matches($0, at: position) }) {
      let end = digits(position + 2, allowed)
      guard end > position + 2, let value = Int(text(position + 2..<end), radix: radix) else { break }
      tokens.append(Token(kind: .int(value), line: line))
      return advance(to: end)
    }
    var end = digits(position)
    var isFloat = false
    // After a dot ("x.0.1") a number is an index, never a fraction.
    if position == 0 || source[position - 1] != "." {
      if end < source.count, source[end] == ".", digits(end + 1) > end + 1 {
        end = digits(end + 1)
        isFloat = true
      }
      if end < source.count, source[end] == "e" || source[end] == "E" {
        let sign = end + 1 < source.count && (source[end + 1] == "+" || source[end + 1] == "-") ? 1 : 0
        let exponent = digits(end + 1 + sign)
        if exponent > end + 1 + sign {
          end = exponent
          isFloat = true
        }
      }
    }
    if isFloat {
      tokens.append(Token(kind: .float(Double(text(position..<end)) ?? .infinity), line: line))
    } else {
      let digits = text(position..<end)
      guard let value = Int(digits) else { throw error("an integer that is too large") }
      guard value == 0 || !digits.hasPrefix("0") else {
        throw error("an integer that begins with 0", found: digits)
      }
      tokens.append(Token(kind: .int(value), line: line))
    }
    advance(to: end)
  }

  private mutating func string(quote: Unicode.Scalar) throws(LimnError) {
    var end = position + 1
    while end < source.count, source[end] != quote { end += source[end] == "\\" ? 2 : 1 }
    guard end < source.count else { throw error("a string without end") }
    let content = try unescaped(source[position + 1..<end])
    tokens.append(Token(kind: .string(content), line: line))
    advance(to: end + 1)
  }

  /// Resolves Python's escapes. An unknown escape stays as it is, including the backslash.
  private func unescaped(_ content: ArraySlice<Unicode.Scalar>) throws(LimnError) -> String {
    var result = String.UnicodeScalarView()
    var index = content.startIndex
    func hexadecimal(_ count: Int) throws(LimnError) -> Unicode.Scalar {
      let digits = String(scalars: content[(index + 1)...].prefix(count))
      guard digits.utf8.count == count, digits.utf8.allSatisfy({ Character(.init($0)).isHexDigit }),
        let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value)
      else { throw error("an escape that is not a character", found: "\\" + String(content[index]) + digits) }
      return scalar
    }
    while index < content.endIndex {
      guard content[index] == "\\" else {
        result.append(content[index])
        index += 1
        continue
      }
      index += 1
      let letter = content[index]
      switch letter {
      case "\n": break
      case "n": result.append("\n")
      case "t": result.append("\t")
      case "r": result.append("\r")
      case "a": result.append("\u{07}")
      case "b": result.append("\u{08}")
      case "f": result.append("\u{0C}")
      case "v": result.append("\u{0B}")
      case "\\", "'", "\"": result.append(letter)
      case "x", "u", "U":
        let count = letter == "x" ? 2 : letter == "u" ? 4 : 8
        result.append(try hexadecimal(count))
        index += count
      case "0"..."7":
        let digits = content[index...].prefix(3).prefix { ("0"..."7").contains($0) }
        result.append(Unicode.Scalar(UInt32(String(scalars: digits), radix: 8)!)!)
        index += digits.count - 1
      default:
        result.append("\\")
        result.append(letter)
      }
      index += 1
    }
    return String(result)
  }

  private func error(_ what: String, found: String? = nil) -> LimnError {
    .badData("\(what)", in: "line \(line)", found: found)
  }
}
