import LimnCore

/// Compiles a regular expression into a `Pattern`'s program. Supports the part of Oniguruma's syntax that the
/// pre-tokenizers of published tokenizers use; rejects everything else, with its position.
struct PatternParser {
  private let text: [UInt32]
  private let source: String
  private var position = 0
  private var depth = 0
  private var ignoresCase = false

  /// The limits on program size and group nesting.
  private static let (sizeLimit, depthLimit) = (20_000, 50)

  private indirect enum Node {
    case set(CharacterSet)
    case sequence([Node])
    case choice([Node])
    case look(Node, negative: Bool)
    case atomic(Node)
    case start, end, wordBoundary, notWordBoundary
    case repeated(Node, Int, Int?, Greed)
  }

  private enum Greed { case greedy, lazy, possessive }

  static func compile(_ source: String) throws(LimnError) -> [Pattern.Instruction] {
    var parser = PatternParser(source)
    let node = try parser.choice()
    guard parser.position == parser.text.count else { throw parser.refusal("an unmatched )") }
    var program: [Pattern.Instruction] = []
    try parser.emit(node, to: &program)
    program.append(.match)
    return program
  }

  private init(_ source: String) {
    self.source = source
    text = source.unicodeScalars.map(\.value)
  }

  private func refusal(_ what: String) -> LimnError {
    .badData(
      "the pattern \(source) cannot be used: \(what) at character \(position + 1)",
      remedy: "use a tokenizer whose pre-tokenizer keeps to common patterns")
  }

  // MARK: Reading

  private var peek: UInt32? { position < text.count ? text[position] : nil }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard peek == character.value else { return false }
    position += 1
    return true
  }

  private mutating func take(_ word: String) -> Bool {
    let scalars = word.unicodeScalars.map(\.value)
    guard text[position...].starts(with: scalars) else { return false }
    position += scalars.count
    return true
  }

  private mutating func choice() throws(LimnError) -> Node {
    var branches = [try sequence()]
    while take("|" as Unicode.Scalar) { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence() throws(LimnError) -> Node {
    var nodes: [Node] = []
    while let next = peek, next != 0x7C, next != 0x29 {  // | )
      nodes.append(try quantified(try atom()))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  private mutating func quantified(_ atom: Node) throws(LimnError) -> Node {
    var node = atom
    while true {
      let range: (Int, Int?)
      var isInterval = false
      if take("*" as Unicode.Scalar) {
        range = (0, nil)
      } else if take("+" as Unicode.Scalar) {
        range = (1, nil)
      } else if take("?" as Unicode.Scalar) {
        range = (0, 1)
      } else if peek == 0x7B, let interval = try interval() {
        range = interval
        isInterval = true
      } else {
        return node
      }
      var greed = Greed.greedy
      if take("?" as Unicode.Scalar) {
        greed = .lazy
      } else if !isInterval, take("+" as Unicode.Scalar) {  // In Oniguruma, {1,3}+ repeats the interval.
        greed = .possessive
      }
      node = .repeated(node, range.0, range.1, greed)
    }
  }

  /// `{2}`, `{2,}`, `{,5}` or `{2,5}`; nil if the brace is an ordinary character.
  private mutating func interval() throws(LimnError) -> (Int, Int?)? {
    let start = position
    position += 1
    let least = number()
    var most = least
    if take("," as Unicode.Scalar) { most = number() }
    guard take("}" as Unicode.Scalar), least != nil || most != nil else {
      position = start
      return nil
    }
    let range = (least ?? 0, most)
    guard range.0 <= 1000, (range.1 ?? 0) <= 1000, range.0 <= range.1 ?? .max else {
      throw refusal("a repetition out of range")
    }
    return range
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let digit = peek, (0x30...0x39).contains(digit), (value ?? 0) < 100_000 {
      value = (value ?? 0) * 10 + Int(digit - 0x30)
      position += 1
    }
    return value
  }

  private mutating func atom() throws(LimnError) -> Node {
    let start = position
    let character = text[position]
    position += 1
    switch Unicode.Scalar(character) {
    case "(": return try group()
    case "[": return .set(try characterClass())
    case ".": return .set(CharacterSet([.range(10...10)], negated: true))
    case "^": return .start
    case "$": return .end
    case "*", "+", "?":
      position = start
      throw refusal("a quantifier with nothing to repeat")
    case "\\":
      if take("b" as Unicode.Scalar) { return .wordBoundary }
      if take("B" as Unicode.Scalar) { return .notWordBoundary }
      if take("A" as Unicode.Scalar) { return .start }
      if take("z" as Unicode.Scalar) { return .end }
      return .set(CharacterSet([try escape()], ignoresCase: ignoresCase))
    default: return .set(CharacterSet([.range(character...character)], ignoresCase: ignoresCase))
    }
  }

  private mutating func group() throws(LimnError) -> Node {
    depth += 1
    guard depth <= Self.depthLimit else { throw refusal("groups nested too deep") }
    defer { depth -= 1 }
    let outerCase = ignoresCase
    var wrap: (Node) -> Node = { $0 }
    if take("?:") {
    } else if take("?i:") {
      ignoresCase = true
    } else if take("?-i:") {
      ignoresCase = false
    } else if take("?=") {
      wrap = { .look($0, negative: false) }
    } else if take("?!") {
      wrap = { .look($0, negative: true) }
    } else if take("?>") {
      wrap = { .atomic($0) }
    } else if take("?i)") {  // Applies up to the end of the enclosing group.
      ignoresCase = true
      return try sequence()
    } else if peek == 0x3F {
      throw refusal("a kind of group that is not supported")
    }
    let node = try choice()
    guard take(")" as Unicode.Scalar) else { throw refusal("a ) is missing") }
    ignoresCase = outerCase
    return wrap(node)
  }

  /// The set that follows a backslash.
  private mutating func escape() throws(LimnError) -> CharacterSet.Item {
    guard let character = peek else { throw refusal("a backslash at the end") }
    position += 1
    func one(_ value: UInt32) -> CharacterSet.Item { .range(value...value) }
    switch Unicode.Scalar(character) {
    case "n": return one(10)
    case "r": return one(13)
    case "t": return one(9)
    case "v": return one(11)
    case "f": return one(12)
    case "a": return one(7)
    case "e": return one(27)
    case "s": return .space
    case "S": return .not(.space)
    case "w": return .word
    case "W": return .not(.word)
    case "d": return .category(GeneralCategory.masks["Nd"]!)
    case "D": return .not(.category(GeneralCategory.masks["Nd"]!))
    case "p", "P": return try property(negated: character == 0x50)
    case "x", "u": return one(try hexadecimal(isShort: character == 0x78))
    case .some(let scalar) where scalar.properties.isAlphabetic || ("0"..."9").contains(scalar):
      throw refusal("\\\(scalar) is not supported")
    default: return one(character)
    }
  }

  private mutating func property(negated: Bool) throws(LimnError) -> CharacterSet.Item {
    guard take("{" as Unicode.Scalar), let end = text[position...].firstIndex(of: 0x7D) else {
      throw refusal("\\p without a name in braces")
    }
    var name = String(String.UnicodeScalarView(text[position..<end].compactMap(Unicode.Scalar.init)))
    position = end + 1
    let inverted = name.hasPrefix("^")
    if inverted { name.removeFirst() }
    guard let mask = GeneralCategory.masks[name] else { throw refusal("the property \(name) is not known") }
    return negated != inverted ? .not(.category(mask)) : .category(mask)
  }

  private mutating func hexadecimal(isShort: Bool) throws(LimnError) -> UInt32 {
    let isBraced = take("{" as Unicode.Scalar)
    let limit = isBraced ? 6 : isShort ? 2 : 4
    var (value, digits) = (0 as UInt32, 0)
    while digits < limit, let character = peek, let digit = Self.hexadecimalDigit(character) {
      value = value << 4 | digit
      digits += 1
      position += 1
    }
    guard digits > 0, !isBraced || take("}" as Unicode.Scalar) else {
      throw refusal("an invalid character number")
    }
    return value
  }

  private static func hexadecimalDigit(_ character: UInt32) -> UInt32? {
    switch character {
    case 0x30...0x39: character - 0x30
    case 0x41...0x46: character - 0x41 + 10
    case 0x61...0x66: character - 0x61 + 10
    default: nil
    }
  }

  private mutating func characterClass() throws(LimnError) -> CharacterSet {
    let negated = take("^" as Unicode.Scalar)
    var items: [CharacterSet.Item] = []
    var isFirst = true
    while let character = peek, isFirst || character != 0x5D {  // ]
      isFirst = false
      if character == 0x5B { throw refusal("a class within a class is not supported") }
      if take("&&") { throw refusal("the intersection of classes is not supported") }
      position += 1
      let item = character == 0x5C ? try escape() : .range(character...character)
      guard case .range(let low) = item, low.count == 1, peek == 0x2D, position + 1 < text.count,
        text[position + 1] != 0x5D
      else {
        items.append(item)
        continue
      }
      position += 1
      let next = text[position]
      position += 1
      guard case .range(let high) = next == 0x5C ? try escape() : .range(next...next),
        low.lowerBound <= high.lowerBound
      else { throw refusal("a broken range in a class") }
      items.append(.range(low.lowerBound...high.lowerBound))
    }
    guard take("]" as Unicode.Scalar) else { throw refusal("a ] is missing") }
    return CharacterSet(items, negated: negated, ignoresCase: ignoresCase)
  }

  // MARK: Writing the program

  private func emit(_ node: Node, to program: inout [Pattern.Instruction]) throws(LimnError) {
    guard program.count < Self.sizeLimit else { throw refusal("too many repetitions") }
    switch node {
    case .set(let set): program.append(.set(set))
    case .start: program.append(.start)
    case .end: program.append(.end)
    case .wordBoundary: program.append(.wordBoundary(negative: false))
    case .notWordBoundary: program.append(.wordBoundary(negative: true))
    case .sequence(let nodes): for node in nodes { try emit(node, to: &program) }
    case .choice(let branches): try emitChoice(branches, to: &program)
    case .look(let node, let negative):
      let place = program.count
      program.append(.match)
      try emit(node, to: &program)
      program.append(.match)
      program[place] = .look(end: program.count, negative: negative)
    case .atomic(let node):
      let place = program.count
      program.append(.match)
      try emit(node, to: &program)
      program.append(.match)
      program[place] = .atomic(end: program.count)
    case .repeated(let node, let least, let most, let greed):
      try emitRepeated(node, least, most, greed, to: &program)
    }
  }

  private func emitChoice(_ branches: [Node], to program: inout [Pattern.Instruction]) throws(LimnError) {
    var exits: [Int] = []
    for branch in branches.dropLast() {
      let place = program.count
      program.append(.match)
      try emit(branch, to: &program)
      exits.append(program.count)
      program.append(.match)
      program[place] = .split(first: place + 1, second: program.count)
    }
    try emit(branches[branches.count - 1], to: &program)
    for exit in exits { program[exit] = .jump(program.count) }
  }

  private func emitRepeated(
    _ node: Node, _ least: Int, _ most: Int?, _ greed: Greed, to program: inout [Pattern.Instruction]
  ) throws(LimnError) {
    if greed == .possessive { return try emit(.atomic(.repeated(node, least, most, .greedy)), to: &program) }
    if greed == .greedy, case .set(let set) = node {
      program.append(.repeatSet(set, least: least, most: most ?? .max))
      return
    }
    for _ in 0..<least { try emit(node, to: &program) }
    func split(into body: Int, past end: Int) -> Pattern.Instruction {
      greed == .lazy ? .split(first: end, second: body) : .split(first: body, second: end)
    }
    guard let most else {
      let loop = program.count
      program.append(.match)
      try emit(node, to: &program)
      program.append(.jump(loop))
      program[loop] = split(into: loop + 1, past: program.count)
      return
    }
    var splits: [Int] = []
    for _ in least..<max(most, least) {
      splits.append(program.count)
      program.append(.match)
      try emit(node, to: &program)
    }
    for place in splits { program[place] = split(into: place + 1, past: program.count) }
  }
}
