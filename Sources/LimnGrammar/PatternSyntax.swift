import LimnCore

/// A regular expression as JSON Schema uses it, parsed: the part of ECMAScript's syntax that says which texts there are.
/// What looks around (`\b`, lookahead, references to groups) is refused.
struct PatternSyntax {
  indirect enum Node: Sendable {
    case set(ScalarSet)
    case sequence([Node])
    case choice([Node])
    case repeated(Node, Int, Int?)
  }

  private let text: [UInt32]
  private let source: String
  private var position = 0
  private var depth = 0

  /// The limits on the nesting of groups and on repetitions.
  private static let (depthLimit, repeatLimit) = (50, 10_000)

  /// The texts that the pattern is found in: without anchors, anything may stand before and behind.
  static func parse(_ source: String) throws(LimnError) -> Node {
    var parser = PatternSyntax(text: source.unicodeScalars.map(\.value), source: source)
    let node = try parser.choice()
    guard parser.position == parser.text.count else { throw parser.refusal("an unmatched )") }
    return node
  }

  private init(text: [UInt32], source: String) {
    self.text = text
    self.source = source
  }

  private func refusal(_ what: String) -> LimnError {
    .badData(
      "the pattern \(source) cannot be used: \(what) at character \(position + 1)",
      remedy: "use classes, groups, alternatives and repetitions only")
  }

  private func isNext(_ character: Unicode.Scalar) -> Bool {
    position < text.count && text[position] == character.value
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard isNext(character) else { return false }
    position += 1
    return true
  }

  private static let anything = Node.repeated(.set(.all), 0, nil)

  private mutating func choice() throws(LimnError) -> Node {
    var alternatives = [try sequence()]
    while take("|") { alternatives.append(try sequence()) }
    return alternatives.count == 1 ? alternatives[0] : .choice(alternatives)
  }

  private mutating func sequence() throws(LimnError) -> Node {
    var nodes: [Node] = []
    let isOutermost = depth == 0
    let isAnchored = isOutermost && take("^")
    if isOutermost, !isAnchored { nodes.append(Self.anything) }
    while position < text.count, !isNext("|"), !isNext(")") {
      if isOutermost, isNext("$"), position + 1 == text.count || text[position + 1] == UInt32(UInt8(ascii: "|")) {
        position += 1
        return .sequence(nodes)
      }
      nodes.append(try repeated(try atom()))
    }
    if isOutermost { nodes.append(Self.anything) }
    return .sequence(nodes)
  }

  private mutating func repeated(_ node: Node) throws(LimnError) -> Node {
    let (least, most): (Int, Int?)
    if take("*") {
      (least, most) = (0, nil)
    } else if take("+") {
      (least, most) = (1, nil)
    } else if take("?") {
      (least, most) = (0, 1)
    } else if take("{") {
      guard let first = number() else { throw refusal("a { that is no count") }
      if take(",") { (least, most) = (first, number()) } else { (least, most) = (first, first) }
      guard take("}"), most ?? least >= least else { throw refusal("a count that is no count") }
    } else {
      return node
    }
    // Greed does not change which texts match.
    _ = take("?")
    if ["*", "+", "?", "{"].contains(where: { isNext($0) }) { throw refusal("nothing to repeat") }
    return .repeated(node, least, most)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while position < text.count, (48...57).contains(text[position]) {
      value = min(Self.repeatLimit, (value ?? 0) * 10 + Int(text[position] - 48))
      position += 1
    }
    return value
  }

  private mutating func atom() throws(LimnError) -> Node {
    let character = text[position]
    guard let scalar = Unicode.Scalar(character) else { throw refusal("a surrogate") }
    switch scalar {
    case "(":
      position += 1
      depth += 1
      defer { depth -= 1 }
      guard depth <= Self.depthLimit else { throw refusal("too many groups within groups") }
      if take("?"), !take(":") { throw refusal("a group that looks around or is named") }
      let inner = try choice()
      guard take(")") else { throw refusal("a ( without its )") }
      return inner
    case "[": return .set(try set())
    case ".":
      position += 1
      return .set(ScalarSet([0xA...0xA, 0xD...0xD, 0x2028...0x2029]).inverted)
    case "^", "$": throw refusal("an anchor within")
    case "*", "+", "?", "{", "}", "]": throw refusal("a lone \(Character(scalar))")
    case "\\": return .set(try escape())
    default:
      position += 1
      return .set(ScalarSet([character...character]))
    }
  }

  private mutating func set() throws(LimnError) -> ScalarSet {
    position += 1
    let isInverted = take("^")
    var set = ScalarSet([])
    while position < text.count, !isNext("]") {
      let first = try member()
      if isNext("-"), position + 1 < text.count, text[position + 1] != UInt32(UInt8(ascii: "]")) {
        position += 1
        let last = try member()
        guard let low = first.single, let high = last.single, low <= high else { throw refusal("a range that is none") }
        set = set.union(ScalarSet([low...high]))
      } else {
        set = set.union(first)
      }
    }
    guard take("]") else { throw refusal("a [ without its ]") }
    let result = isInverted ? set.inverted : set
    guard !result.isEmpty else { throw refusal("a class without characters") }
    return result
  }

  private mutating func member() throws(LimnError) -> ScalarSet {
    if isNext("\\") { return try escape() }
    defer { position += 1 }
    return ScalarSet([text[position]...text[position]])
  }

  private mutating func escape() throws(LimnError) -> ScalarSet {
    position += 1
    guard position < text.count, let scalar = Unicode.Scalar(text[position]) else { throw refusal("a lone \\") }
    position += 1
    func one(_ value: UInt32) -> ScalarSet { ScalarSet([value...value]) }
    switch scalar {
    // Validators disagree about letters and digits beyond ASCII, so neither side of these classes has any.
    case "d": return Self.digits
    case "D": return ScalarSet([0x20...0x2F, 0x3A...0x7E])
    case "w": return Self.word
    case "W": return ScalarSet([0x20...0x2F, 0x3A...0x40, 0x5B...0x5E, 0x60...0x60, 0x7B...0x7E])
    case "s": return ScalarSet([0x9...0xD, 0x20...0x20])
    case "S": return ScalarSet([0x21...0x7E, 0xC0...0x167F, 0x3041...0xD7FF])
    case "t": return one(0x9)
    case "n": return one(0xA)
    case "v": return one(0xB)
    case "f": return one(0xC)
    case "r": return one(0xD)
    case "0": return one(0)
    case "x": return one(try hex(2))
    case "u":
      if take("{") {
        let value = try hex(nil)
        guard take("}") else { throw refusal("a { without its }") }
        return one(value)
      }
      return one(try hex(4))
    default:
      guard scalar.isASCII, !scalar.properties.isAlphabetic, !(48...57).contains(scalar.value) else {
        throw refusal("\\\(Character(scalar))")
      }
      return one(scalar.value)
    }
  }

  private static let digits = ScalarSet([0x30...0x39])
  private static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])

  private mutating func hex(_ count: Int?) throws(LimnError) -> UInt32 {
    var value: UInt32 = 0, read = 0
    while position < text.count, read < count ?? 6, let digit = Unicode.Scalar(text[position]),
      let number = UInt32(String(Character(digit)), radix: 16)
    {
      value = value << 4 | number
      (position, read) = (position + 1, read + 1)
    }
    guard read == count ?? max(1, read), Unicode.Scalar(value) != nil else {
      throw refusal("an escape that is no character")
    }
    return value
  }
}

extension ScalarSet {
  /// Its only member.
  fileprivate var single: UInt32? {
    ranges.count == 1 && ranges[0].count == 1 ? ranges[0].lowerBound : nil
  }
}
