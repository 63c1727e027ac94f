import LimnCore

/// Runs a parsed template once.
///
/// A template is untrusted code, so everything has a cost: each step, and each byte or element created, is
/// paid from one budget, and recursion depth is counted. Any real conversation stays far below the limits.
final class Renderer {
  /// Steps are expensive, bytes cheap: together this bounds time (about a second) and memory (about 100 MB).
  static let budget = 100_000_000
  static let stepCost = 64
  static let outputLimit = 64 << 20
  static let depthLimit = 300

  private var left = budget
  private var depth = 0
  /// The line of the running statement, for errors.
  private(set) var line = 1
  private var output = ""
  private var scope: Scope
  private let name: String

  var namespaces: [Mapping] = []
  private var macros: [(definition: Macro, scope: Scope)] = []

  private enum Flow { case normal, broken, continued }

  private init(variables: [String: Value], name: String) {
    scope = Scope(parent: nil)
    scope.variables = variables
    self.name = name
  }

  /// Renders the template with these variables.
  static func render(_ template: [Statement], variables: [String: Value], name: String) throws(LimnError)
    -> String
  {
    let renderer = Renderer(variables: variables, name: name)
    do {
      _ = try renderer.run(template)
    } catch {
      var error = error
      error.place = "\(name), line \(renderer.line)"
      throw error
    }
    return renderer.output
  }

  // MARK: Limits

  func pay(_ amount: Int) throws(LimnError) {
    guard amount <= left else { throw .badData("the template does more work than any chat template needs") }
    left -= max(0, amount)
  }

  /// Pays for `count` times `size`; the product may overflow.
  func pay(_ count: Int, times size: Int) throws(LimnError) {
    let (product, overflow) = count.multipliedReportingOverflow(by: size)
    try pay(overflow ? .max : product)
  }

  private func deeper<Result>(_ run: () throws(LimnError) -> Result) throws(LimnError) -> Result {
    try pay(Self.stepCost)
    guard depth < Self.depthLimit else {
      throw .badData("the template recurses more than \(Self.depthLimit) deep")
    }
    depth += 1
    defer { depth -= 1 }
    return try run()
  }

  /// Returns the list, tuple or dictionary, or throws if it nests too deep.
  func checked(_ value: Value) throws(LimnError) -> Value {
    guard value.depth <= Value.depthLimit else {
      throw .badData("values nested more than \(Value.depthLimit) deep")
    }
    return value
  }

  private func write(_ text: String) throws(LimnError) {
    try pay(text.utf8.count)
    output += text
    guard output.utf8.count <= Self.outputLimit else { throw .badData("the prompt is longer than 64 MB") }
  }

  // MARK: Variables

  func lookUp(_ name: String) -> Value {
    var scope: Scope? = scope
    while let current = scope {
      if let value = current.variables[name] { return value }
      scope = current.parent
    }
    return Self.globals.contains(name) ? .function(name) : .undefined("'\(name)' is undefined")
  }

  /// Runs `run` in a scope of its own.
  private func scoped<Result>(
    in parent: Scope? = nil, _ run: () throws(LimnError) -> Result
  ) throws(LimnError) -> Result {
    let outer = scope
    scope = Scope(parent: parent ?? outer)
    defer { scope = outer }
    return try run()
  }

  private func captured(_ run: () throws(LimnError) -> Void) throws(LimnError) -> String {
    let outer = output
    output = ""
    defer { output = outer }
    try run()
    return output
  }

  private func assign(_ value: Value, to target: Target) throws(LimnError) {
    switch target {
    case .name(let name):
      scope.variables[name] = value
    case .attribute(let name, let attribute):
      guard case .namespace(let index) = lookUp(name) else {
        throw .badData("an attribute is set on '\(name)', which is not a namespace")
      }
      guard !attribute.hasPrefix("_") else {
        throw .badData("an attribute of a namespace begins with '_'", found: attribute)
      }
      namespaces[index].set(.string(attribute), to: value)
    case .tuple(let targets):
      let values = try elements(of: value)
      guard values.count == targets.count else {
        throw .badData("values to unpack", expected: "\(targets.count)", found: "\(values.count)")
      }
      for (value, target) in zip(values, targets) { try assign(value, to: target) }
    }
  }

  // MARK: Statements

  private func run(_ statements: [Statement]) throws(LimnError) -> Flow {
    for statement in statements {
      line = statement.line
      let flow = try deeper { () throws(LimnError) in try run(statement.kind) }
      if flow != .normal { return flow }
    }
    return .normal
  }

  private func run(_ statement: Statement.Kind) throws(LimnError) -> Flow {
    switch statement {
    case .text(let text): try write(text)
    case .output(let expression): try write(try printed(try evaluate(expression)))
    case .set(let target, let expression): try assign(try evaluate(expression), to: target)
    case .setBlock(let target, let filter, let body):
      let text = try scoped { () throws(LimnError) in
        try captured { () throws(LimnError) in _ = try run(body) }
      }
      try assign(
        try filter.map { (filter) throws(LimnError) in try evaluate(filter, blockText: text) }
          ?? .string(text), to: target)
    case .if(let branches, let otherwise):
      for branch in branches where try evaluate(branch.condition).isTrue { return try run(branch.body) }
      return try run(otherwise)
    case .for(let loop): try run(loop, over: try evaluate(loop.items), depth: 0)
    case .macro(let macro): scope.variables[macro.name] = define(macro)
    case .call(let call, let macro):
      try write(try printed(try evaluateCall(call, caller: define(macro))))
    case .filter(let filter, let body):
      let text = try scoped { () throws(LimnError) in
        try captured { () throws(LimnError) in _ = try run(body) }
      }
      try write(try printed(try evaluate(filter, blockText: text)))
    case .with(let bindings, let body):
      var values: [(Target, Value)] = []
      for (target, value) in bindings { values.append((target, try evaluate(value))) }
      return try scoped { () throws(LimnError) in
        for (target, value) in values { try assign(value, to: target) }
        return try run(body)
      }
    case .scope(let body): return try scoped { () throws(LimnError) in try run(body) }
    case .break: return .broken
    case .continue: return .continued
    }
    return .normal
  }

  private func define(_ macro: Macro) -> Value {
    macros.append((macro, scope))
    return .macro(macros.count - 1)
  }

  private func run(_ loop: Statement.Loop, over value: Value, depth: Int) throws(LimnError) {
    let items = try elements(of: value)
    try pay(items.count, times: 16)
    let state = Loop(items: Items(items), statement: loop, depth: depth)
    _ = try checked(.loop(state))
    if let filter = loop.filter {
      state.filter = { [unowned self] (item) throws(LimnError) in
        try scoped { () throws(LimnError) in
          try assign(item, to: loop.target)
          return try evaluate(filter).isTrue
        }
      }
    }
    defer { state.finish() }
    while try state.advance() {
      let flow = try scoped { () throws(LimnError) in
        scope.variables["loop"] = .loop(state)
        try assign(state.current!, to: loop.target)
        return try run(loop.body)
      }
      if flow == .broken { break }
    }
    if state.index0 < 0 { _ = try scoped { () throws(LimnError) in try run(loop.otherwise) } }
  }

  /// `loop(items)` in a recursive loop: renders the loop over other items.
  func recurse(_ state: Loop, over value: Value) throws(LimnError) -> Value {
    guard state.statement.isRecursive else { throw .badData("a loop that is not 'recursive' is called") }
    return .string(
      try captured { () throws(LimnError) in
        try deeper { () throws(LimnError) in try run(state.statement, over: value, depth: state.depth0 + 1) }
      })
  }

  // MARK: Expressions

  /// Evaluates an expression. For a filter on a block, `blockText` is the block's output.
  func evaluate(_ expression: Expression, blockText: String? = nil) throws(LimnError) -> Value {
    try deeper { () throws(LimnError) in try evaluate(expression.kind, blockText: blockText) }
  }

  private func evaluate(_ kind: Expression.Kind, blockText: String?) throws(LimnError) -> Value {
    switch kind {
    case .literal(let literal): return literal.value
    case .name(let name): return lookUp(name)
    case .attribute(let base, let name): return try attribute(name, of: try evaluate(base))
    case .item(let base, let index): return try item(try evaluate(index), of: try evaluate(base))
    case .slice(let base, let start, let stop, let step):
      let base = try evaluate(base)
      return try slice(base, try optional(start), try optional(stop), try optional(step))
    case .call(let callee, let arguments):
      return try call(try evaluate(callee), try evaluate(arguments))
    case .filter(let operand, let name, let arguments):
      let operand = try operand.map { (operand) throws(LimnError) in
        try evaluate(operand, blockText: blockText)
      }
      return try filter(name, operand ?? .string(blockText ?? ""), try evaluate(arguments))
    case .test(let operand, let name, let arguments):
      return .bool(try test(name, try evaluate(operand), try evaluate(arguments)))
    case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
    case .negative(let operand): return try negated(try evaluate(operand))
    case .positive(let operand): return try number(try evaluate(operand))
    case .binary(let left, let operation, let right):
      return try binary(operation, try evaluate(left), try evaluate(right))
    case .and(let left, let right):
      let left = try evaluate(left)
      return left.isTrue ? try evaluate(right) : left
    case .or(let left, let right):
      let left = try evaluate(left)
      return left.isTrue ? left : try evaluate(right)
    case .comparison(let first, let rest): return try comparison(first, rest)
    case .conditional(let condition, let then, let otherwise):
      if try evaluate(condition).isTrue { return try evaluate(then) }
      return try otherwise.map { (otherwise) throws(LimnError) in try evaluate(otherwise) }
        ?? .undefined("the condition is false and has no 'else'")
    case .concatenation(let parts):
      var text = ""
      for part in parts {
        text += try printed(try evaluate(part))
        try pay(text.utf8.count)
      }
      return .string(text)
    case .list(let items): return try checked(.list(try evaluate(items)))
    case .tuple(let items): return try checked(.tuple(try evaluate(items)))
    case .dict(let entries): return try dictionary(entries)
    }
  }

  private func optional(_ expression: Expression?) throws(LimnError) -> Value? {
    guard let expression else { return nil }
    return try evaluate(expression)
  }

  private func evaluate(_ expressions: [Expression]) throws(LimnError) -> [Value] {
    var values: [Value] = []
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  private func dictionary(_ entries: [(key: Expression, value: Expression)]) throws(LimnError) -> Value {
    var mapping = Mapping()
    for (key, value) in entries {
      let key = try evaluate(key)
      try pay(256 + key.weight)
      guard mapping.set(key, to: try evaluate(value)) else {
        throw .badData("a \(key.typeName) cannot be the key of a dictionary")
      }
    }
    return try checked(.dict(mapping))
  }

  private func comparison(_ first: Expression, _ rest: [(Comparison, Expression)]) throws(LimnError) -> Value {
    var left = try evaluate(first)
    for (comparison, expression) in rest {
      let right = try evaluate(expression)
      guard try compare(left, comparison, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  private func evaluate(_ arguments: Arguments) throws(LimnError) -> Call {
    var call = Call(positional: try evaluate(arguments.positional))
    for (name, value) in arguments.named { try call.add(name, try evaluate(value)) }
    if let spread = arguments.spread { call.positional += try elements(of: try evaluate(spread)) }
    if let spread = arguments.namedSpread {
      guard case .dict(let mapping) = try evaluate(spread) else {
        throw .badData("'**' before a value that is not a dictionary")
      }
      for (key, value) in mapping.entries {
        guard let name = key.text else {
          throw .badData("'**' before a dictionary whose keys are not all strings")
        }
        try call.add(name, value)
      }
    }
    return call
  }

  private func evaluateCall(_ expression: Expression, caller: Value) throws(LimnError) -> Value {
    guard case .call(let callee, let arguments) = expression.kind else {
      preconditionFailure("the parser saw a call")
    }
    var call = try evaluate(arguments)
    try call.add("caller", caller)
    return try self.call(try evaluate(callee), call)
  }

  // MARK: Macros

  func callMacro(_ index: Int, _ call: Call) throws(LimnError) -> Value {
    let (macro, definitionScope) = macros[index]
    var call = call
    let callLine = line
    let text = try scoped(in: definitionScope) { () throws(LimnError) in
      try bind(macro, &call)
      return try captured { () throws(LimnError) in
        _ = try deeper { () throws(LimnError) in try run(macro.body) }
      }
    }
    line = callLine
    return .string(text)
  }

  /// Binds arguments to parameters. Extra arguments go to `varargs` and `kwargs` if the body mentions them.
  private func bind(_ macro: Macro, _ call: inout Call) throws(LimnError) {
    let count = macro.parameters.count
    for (index, parameter) in macro.parameters.enumerated() {
      if index < call.positional.count {
        scope.variables[parameter.name] = call.positional[index]
      } else if let value = call.take(parameter.name) {
        scope.variables[parameter.name] = value
      } else if let value = parameter.defaultValue {
        scope.variables[parameter.name] = try evaluate(value)
      } else {
        scope.variables[parameter.name] = .undefined("parameter '\(parameter.name)' was not provided")
      }
    }
    if macro.mentions.contains("caller"), !macro.parameters.contains(where: { $0.name == "caller" }) {
      scope.variables["caller"] = call.take("caller") ?? .undefined("No caller defined")
    }
    if macro.mentions.contains("kwargs") {
      var mapping = Mapping()
      for (name, value) in call.named { mapping.set(.string(name), to: value) }
      scope.variables["kwargs"] = try checked(.dict(mapping))
    } else if let extra = call.named.first {
      throw .badData("the macro '\(macro.name)' takes no argument '\(extra.name)'")
    }
    if macro.mentions.contains("varargs") {
      scope.variables["varargs"] = try checked(.tuple(Array(call.positional.dropFirst(count))))
    } else if call.positional.count > count {
      throw .badData("the macro '\(macro.name)' takes no more than \(count) arguments")
    }
  }
}
