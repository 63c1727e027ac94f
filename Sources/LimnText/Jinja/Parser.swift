import LimnCore

/// Parses the statements of a template; expressions are in `Parser+Expressions.swift`.
struct Parser {
  let tokens: [Token]
  var position = 0
  /// The current nesting depth of brackets and blocks.
  var nesting = 0
  private var loops = 0
  /// The names used in expressions: a macro accepts `varargs`, `kwargs` and `caller` only if mentioned.
  var mentioned: Set<String> = []

  static let nestingLimit = 60
  static let depthLimit = 120

  static func parse(_ text: String) throws(LimnError) -> [Statement] {
    var parser = Parser(tokens: try Lexer.tokens(of: text))
    return try parser.statements(until: [])
  }

  // MARK: Tokens

  var current: Token.Kind { tokens[position].kind }
  var next: Token.Kind { tokens[min(position + 1, tokens.count - 1)].kind }

  mutating func advance() { if position < tokens.count - 1 { position += 1 } }

  mutating func take(symbol: String) -> Bool {
    guard current == .symbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func take(name: String) -> Bool {
    guard current == .name(name) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws(LimnError) {
    guard take(symbol: symbol) else { throw unexpected("'\(symbol)'") }
  }

  mutating func expectName() throws(LimnError) -> String {
    guard case .name(let name) = current else { throw unexpected("a name") }
    advance()
    return name
  }

  func unexpected(_ expected: String) -> LimnError {
    let found: String =
      switch current {
      case .text: "text"
      case .beginBlock: "'{%'"
      case .endBlock: "the end of the tag"
      case .beginOutput: "'{{'"
      case .endOutput: "the end of the tag"
      case .name(let name): "'\(name)'"
      case .string: "a string"
      case .int, .float: "a number"
      case .symbol(let symbol): "'\(symbol)'"
      case .end: "the end of the template"
      }
    return .badData(
      "a template that cannot be parsed", in: "line \(tokens[position].line)", expected: expected,
      found: found)
  }

  func error(_ what: String) -> LimnError { .badData("\(what)", in: "line \(tokens[position].line)") }

  /// Runs `parse` one level deeper.
  mutating func nested<Result>(_ parse: (inout Parser) throws(LimnError) -> Result) throws(LimnError)
    -> Result
  {
    guard nesting < Self.nestingLimit else {
      throw error("a template nested more than \(Self.nestingLimit) deep")
    }
    nesting += 1
    let result = try parse(&self)
    nesting -= 1
    return result
  }

  // MARK: Statements

  /// Parses statements up to a tag whose name is one of `ends` (that name is then the current token). If
  /// `ends` is empty, parses to the end of the template.
  private mutating func statements(until ends: [String]) throws(LimnError) -> [Statement] {
    var statements: [Statement] = []
    while true {
      let line = tokens[position].line
      switch current {
      case .text(let text):
        advance()
        statements.append(Statement(line: line, kind: .text(text)))
      case .beginOutput:
        advance()
        statements.append(Statement(line: line, kind: .output(try tuple())))
        guard current == .endOutput else { throw unexpected("'}}'") }
        advance()
      case .beginBlock:
        advance()
        if case .name(let name) = current, ends.contains(name) { return statements }
        statements.append(
          Statement(line: line, kind: try nested { parser throws(LimnError) in try parser.statement() }))
        try endTag()
      default:
        guard current == .end, ends.isEmpty else {
          throw unexpected(ends.map { "'{% \($0) %}'" }.joined(separator: " or "))
        }
        return statements
      }
    }
  }

  private mutating func endTag() throws(LimnError) {
    guard current == .endBlock else { throw unexpected("'%}'") }
    advance()
  }

  /// The body of a block, from the end of its opening tag through the name of its end tag.
  private mutating func body(until ends: String...) throws(LimnError) -> (body: [Statement], end: String) {
    _ = take(symbol: ":")
    try endTag()
    let body = try statements(until: ends)
    return (body, try expectName())
  }

  private mutating func statement() throws(LimnError) -> Statement.Kind {
    let keyword = try expectName()
    switch keyword {
    case "if": return try conditional()
    case "for": return try loop()
    case "set": return try assignment()
    case "macro": return try macro()
    case "call": return try call()
    case "filter":
      let filter = try filterChain(on: nil)
      return .filter(filter, try body(until: "endfilter").body)
    case "with": return try with()
    case "generation": return .scope(try body(until: "endgeneration").body)
    case "print": return .output(try printList())
    case "break", "continue":
      guard loops > 0 else { throw error("'\(keyword)' outside of a loop") }
      return keyword == "break" ? .break : .continue
    case "include", "import", "from", "extends", "block", "autoescape":
      throw error("the tag '\(keyword)', which no chat template may use, since it is a single file")
    default: throw error("an unknown tag '\(keyword)'")
    }
  }

  private mutating func conditional() throws(LimnError) -> Statement.Kind {
    var branches: [(condition: Expression, body: [Statement])] = []
    while true {
      let condition = try tuple(withConditional: false)
      let (body, end) = try body(until: "elif", "else", "endif")
      branches.append((condition, body))
      if end == "endif" { return .if(branches, otherwise: []) }
      if end == "else" { return .if(branches, otherwise: try self.body(until: "endif").body) }
    }
  }

  private mutating func loop() throws(LimnError) -> Statement.Kind {
    let target = try target(until: "in")
    guard take(name: "in") else { throw unexpected("'in'") }
    let items = try tuple(withConditional: false, until: "recursive")
    let filter = take(name: "if") ? try expression() : nil
    let isRecursive = take(name: "recursive")
    loops += 1
    let (body, end) = try body(until: "endfor", "else")
    loops -= 1
    let otherwise = end == "else" ? try self.body(until: "endfor").body : []
    return .for(
      .init(
        target: target, items: items, filter: filter, isRecursive: isRecursive, body: body,
        otherwise: otherwise))
  }

  private mutating func assignment() throws(LimnError) -> Statement.Kind {
    let target = try target(until: nil)
    if take(symbol: "=") { return .set(target, try tuple()) }
    let filter = current == .symbol("|") ? try filterChain(on: nil) : nil
    return .setBlock(target, filter: filter, try body(until: "endset").body)
  }

  private mutating func macro() throws(LimnError) -> Statement.Kind {
    let name = try expectName()
    let parameters = try parameters()
    return .macro(try macroBody(name: name, parameters: parameters, end: "endmacro"))
  }

  private mutating func call() throws(LimnError) -> Statement.Kind {
    let parameters = current == .symbol("(") ? try parameters() : []
    let call = try expression()
    guard case .call = call.kind else { throw unexpected("a call") }
    return .call(call, try macroBody(name: "caller", parameters: parameters, end: "endcall"))
  }

  private mutating func macroBody(name: String, parameters: [Parameter], end: String) throws(LimnError)
    -> Macro
  {
    let (outer, outerLoops) = (mentioned, loops)
    mentioned = []
    loops = 0
    let body = try body(until: end).body
    let special = mentioned.intersection(["varargs", "kwargs", "caller"])
    mentioned.formUnion(outer)
    loops = outerLoops
    return Macro(name: name, parameters: parameters, body: body, mentions: special)
  }

  private mutating func parameters() throws(LimnError) -> [Parameter] {
    try expect(symbol: "(")
    var parameters: [Parameter] = []
    while current != .symbol(")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      let name = try expectName()
      let value = take(symbol: "=") ? try expression() : nil
      guard value != nil || parameters.last?.defaultValue == nil else {
        throw error("a parameter without default after one with a default")
      }
      parameters.append(Parameter(name: name, defaultValue: value))
    }
    advance()
    return parameters
  }

  private mutating func with() throws(LimnError) -> Statement.Kind {
    var bindings: [(Target, Expression)] = []
    while current != .endBlock {
      if !bindings.isEmpty { try expect(symbol: ",") }
      let name = try singleTarget()
      try expect(symbol: "=")
      bindings.append((name, try expression()))
    }
    return .with(bindings, try body(until: "endwith").body)
  }

  // MARK: Targets

  /// `a`, `a, b`, `(a, (b, c))`, `ns.a`.
  private mutating func target(until end: String?) throws(LimnError) -> Target {
    var targets = [try singleTarget()]
    var isTuple = false
    while take(symbol: ",") {
      isTuple = true
      if let end, current == .name(end) { break }
      if current == .symbol("=") || current == .endBlock || current == .symbol(")") { break }
      targets.append(try singleTarget())
    }
    return isTuple ? .tuple(targets) : targets[0]
  }

  private mutating func singleTarget() throws(LimnError) -> Target {
    if take(symbol: "(") {
      let target = try nested { parser throws(LimnError) in try parser.target(until: nil) }
      try expect(symbol: ")")
      return target
    }
    let name = try expectName()
    guard !["true", "false", "none", "True", "False", "None", "loop"].contains(name) else {
      throw error("nothing can be assigned to '\(name)'")
    }
    if take(symbol: ".") {
      mentioned.insert(name)
      return .attribute(namespace: name, try expectName())
    }
    return .name(name)
  }
}
