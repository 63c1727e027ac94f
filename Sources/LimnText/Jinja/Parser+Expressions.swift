import LimnCore

// Expressions, with Jinja's own precedence: `or`, `and`, `not`, comparisons, `+ -`, `~`, `* / // %`, `**`
// (left-associative, unlike Python), signs, then calls, subscripts, filters and tests.

extension Parser {
  mutating func expression(withConditional: Bool = true) throws(LimnError) -> Expression {
    try nested { parser throws(LimnError) in
      var result = try parser.disjunction()
      while withConditional, parser.take(name: "if") {
        let condition = try parser.disjunction()
        let otherwise = parser.take(name: "else") ? try parser.expression() : nil
        result = try parser.make(
          .conditional(condition, then: result, otherwise: otherwise), result, condition, otherwise)
      }
      return result
    }
  }

  /// One expression, or a tuple of several separated by commas.
  mutating func tuple(withConditional: Bool = true, until end: String? = nil, canBeEmpty: Bool = false)
    throws(LimnError) -> Expression
  {
    var items: [Expression] = []
    var isTuple = false
    func isEnd(_ parser: Parser) -> Bool {
      switch parser.current {
      case .endOutput, .endBlock, .symbol(")"): true
      case .name(let name): name == end
      default: false
      }
    }
    while !isEnd(self) {
      items.append(try expression(withConditional: withConditional))
      guard take(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let only = items.first { return only }
      guard canBeEmpty else { throw unexpected("an expression") }
    }
    return try make(.tuple(items), items)
  }

  /// The output of `{% print a, b %}`: the texts concatenated.
  mutating func printList() throws(LimnError) -> Expression {
    var parts: [Expression] = []
    while current != .endBlock {
      if !parts.isEmpty { try expect(symbol: ",") }
      parts.append(try expression())
    }
    return try make(.concatenation(parts), parts)
  }

  private func make(_ kind: Expression.Kind, _ children: Expression?...) throws(LimnError) -> Expression {
    try make(kind, children.compactMap(\.self))
  }

  private func make(_ kind: Expression.Kind, _ children: [Expression]) throws(LimnError) -> Expression {
    let depth = 1 + children.reduce(0) { max($0, $1.depth) }
    guard depth <= Self.depthLimit else { throw error("an expression more than \(Self.depthLimit) deep") }
    return Expression(kind: kind, depth: depth)
  }

  private func children(_ arguments: Arguments) -> [Expression] {
    arguments.positional + arguments.named.map(\.value)
      + [arguments.spread, arguments.namedSpread].compactMap(\.self)
  }

  // MARK: Operators

  private mutating func disjunction() throws(LimnError) -> Expression {
    var left = try conjunction()
    while take(name: "or") {
      let right = try conjunction()
      left = try make(.or(left, right), left, right)
    }
    return left
  }

  private mutating func conjunction() throws(LimnError) -> Expression {
    var left = try negation()
    while take(name: "and") {
      let right = try negation()
      left = try make(.and(left, right), left, right)
    }
    return left
  }

  private mutating func negation() throws(LimnError) -> Expression {
    var count = 0
    while take(name: "not") { count += 1 }
    var result = try comparison()
    for _ in 0..<count { result = try make(.not(result), result) }
    return result
  }

  private mutating func comparison() throws(LimnError) -> Expression {
    let first = try arithmetic(level: 0)
    var rest: [(Comparison, Expression)] = []
    while let sign = takeComparison() { rest.append((sign, try arithmetic(level: 0))) }
    return rest.isEmpty ? first : try make(.comparison(first, rest), [first] + rest.map(\.1))
  }

  private mutating func takeComparison() -> Comparison? {
    switch current {
    case .symbol(let symbol):
      guard let comparison = Comparison(rawValue: symbol) else { return nil }
      advance()
      return comparison
    case .name("in"):
      advance()
      return .isIn
    case .name("not") where next == .name("in"):
      advance()
      advance()
      return .isNotIn
    default: return nil
    }
  }

  private static let levels: [[String]] = [["+", "-"], ["~"], ["*", "/", "//", "%"], ["**"]]

  private mutating func arithmetic(level: Int) throws(LimnError) -> Expression {
    guard level < Self.levels.count else { return try signed() }
    var left = try arithmetic(level: level + 1)
    while case .symbol(let symbol) = current, Self.levels[level].contains(symbol) {
      guard let operation = Operator(rawValue: symbol) else {
        var parts = [left]
        while take(symbol: "~") { parts.append(try arithmetic(level: level + 1)) }
        left = try make(.concatenation(parts), parts)
        continue
      }
      advance()
      let right = try arithmetic(level: level + 1)
      left = try make(.binary(left, operation, right), left, right)
    }
    return left
  }

  /// A sign binds tighter than a filter: `-5|abs` is 5.
  private mutating func signed() throws(LimnError) -> Expression {
    var signs: [Bool] = []
    while true {
      if take(symbol: "-") {
        signs.append(true)
      } else if take(symbol: "+") {
        signs.append(false)
      } else {
        break
      }
    }
    var result = try postfix(try primary())
    for negative in signs.reversed() {
      result = try make(negative ? .negative(result) : .positive(result), result)
    }
    if !signs.isEmpty { result = try postfix(result) }
    return try filtersAndTests(result)
  }

  // MARK: Operands

  private mutating func primary() throws(LimnError) -> Expression {
    let token = current
    switch token {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try make(.literal(.bool(true)))
      case "false", "False": return try make(.literal(.bool(false)))
      case "none", "None": return try make(.literal(.none))
      default:
        mentioned.insert(name)
        return try make(.name(name))
      }
    case .string:
      var text = ""
      while case .string(let part) = current {
        text += part
        advance()
      }
      return try make(.literal(.string(text)))
    case .int(let value):
      advance()
      return try make(.literal(.int(value)))
    case .float(let value):
      advance()
      return try make(.literal(.float(value)))
    case .symbol("("):
      advance()
      let inside = try nested { parser throws(LimnError) in try parser.tuple(canBeEmpty: true) }
      try expect(symbol: ")")
      return inside
    case .symbol("["):
      advance()
      let items = try list(until: "]")
      return try make(.list(items), items)
    case .symbol("{"):
      advance()
      return try dictionary()
    default:
      throw unexpected("an expression")
    }
  }

  private mutating func list(until end: String) throws(LimnError) -> [Expression] {
    var items: [Expression] = []
    while !take(symbol: end) {
      if !items.isEmpty {
        try expect(symbol: ",")
        if take(symbol: end) { break }
      }
      items.append(try expression())
    }
    return items
  }

  private mutating func dictionary() throws(LimnError) -> Expression {
    var entries: [(key: Expression, value: Expression)] = []
    while !take(symbol: "}") {
      if !entries.isEmpty {
        try expect(symbol: ",")
        if take(symbol: "}") { break }
      }
      let key = try expression()
      try expect(symbol: ":")
      entries.append((key, try expression()))
    }
    return try make(.dict(entries), entries.flatMap { [$0.key, $0.value] })
  }

  /// Attributes, subscripts and calls after an operand.
  private mutating func postfix(_ operand: Expression) throws(LimnError) -> Expression {
    var result = operand
    while case .symbol(let symbol) = current {
      switch symbol {
      case ".":
        advance()
        if case .int(let index) = current {
          advance()
          let index = try make(.literal(.int(index)))
          result = try make(.item(result, index), result)
        } else {
          result = try make(.attribute(result, try expectName()), result)
        }
      case "[":
        advance()
        result = try subscripted(result)
      case "(": result = try called(result)
      default: return result
      }
    }
    return result
  }

  private mutating func called(_ callee: Expression) throws(LimnError) -> Expression {
    let arguments = try arguments()
    return try make(.call(callee, arguments), [callee] + children(arguments))
  }

  private mutating func subscripted(_ operand: Expression) throws(LimnError) -> Expression {
    func isEnd(_ parser: Parser) -> Bool {
      [.symbol("]"), .symbol(":"), .symbol(",")].contains(parser.current)
    }
    let start = isEnd(self) ? nil : try expression()
    guard take(symbol: ":") else {
      guard var index = start else { throw unexpected("an index") }
      if current == .symbol(",") {
        advance()
        let items = [index] + (try list(until: "]"))
        index = try make(.tuple(items), items)
      } else {
        try expect(symbol: "]")
      }
      return try make(.item(operand, index), operand, index)
    }
    let stop = isEnd(self) ? nil : try expression()
    var step: Expression?
    if take(symbol: ":"), !isEnd(self) { step = try expression() }
    try expect(symbol: "]")
    return try make(.slice(operand, start: start, stop: stop, step: step), operand, start, stop, step)
  }

  private mutating func arguments() throws(LimnError) -> Arguments {
    try expect(symbol: "(")
    var arguments = Arguments()
    var isFirst = true
    while !take(symbol: ")") {
      if !isFirst {
        try expect(symbol: ",")
        if take(symbol: ")") { break }
      }
      isFirst = false
      if take(symbol: "*") {
        guard arguments.spread == nil, arguments.namedSpread == nil else {
          throw error("arguments out of order")
        }
        arguments.spread = try expression()
      } else if take(symbol: "**") {
        guard arguments.namedSpread == nil else { throw error("arguments out of order") }
        arguments.namedSpread = try expression()
      } else if case .name(let name) = current, next == .symbol("=") {
        guard arguments.namedSpread == nil else { throw error("arguments out of order") }
        advance()
        advance()
        arguments.named.append((name, try expression()))
      } else {
        guard arguments.named.isEmpty, arguments.spread == nil, arguments.namedSpread == nil else {
          throw error("arguments out of order")
        }
        arguments.positional.append(try expression())
      }
    }
    return arguments
  }

  // MARK: Filters and tests

  private mutating func filtersAndTests(_ operand: Expression) throws(LimnError) -> Expression {
    var result = operand
    while true {
      if current == .symbol("|") {
        result = try filterChain(on: result)
      } else if current == .name("is") {
        result = try test(result)
      } else if current == .symbol("(") {
        result = try called(result)
      } else {
        return result
      }
    }
  }

  /// `| a | b(…)`. Without an operand the first bar may be missing, as in `{% filter a | b %}`.
  mutating func filterChain(on operand: Expression?) throws(LimnError) -> Expression {
    var result = operand
    while true {
      let hasBar = take(symbol: "|")
      if let result, !hasBar { return result }
      let name = try dottedName()
      let arguments = current == .symbol("(") ? try arguments() : Arguments()
      result = try make(.filter(result, name, arguments), (result.map { [$0] } ?? []) + children(arguments))
    }
  }

  private mutating func dottedName() throws(LimnError) -> String {
    var name = try expectName()
    while take(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  private mutating func test(_ operand: Expression) throws(LimnError) -> Expression {
    advance()
    let isNegated = take(name: "not")
    let name = try dottedName()
    var arguments = Arguments()
    switch current {
    case .symbol("("): arguments = try self.arguments()
    case .name("else"), .name("or"), .name("and"): break
    case .name("is"): throw error("tests cannot be chained with 'is'")
    case .name, .string, .int, .float, .symbol("["), .symbol("{"):
      arguments.positional = [try postfix(try primary())]
    default: break
    }
    let test = try make(.test(operand, name, arguments), [operand] + children(arguments))
    return isNegated ? try make(.not(test), test) : test
  }
}
