/// An expression of the template language and its depth, which is bounded so that evaluation can recurse.
struct Expression: Sendable {
  let kind: Kind
  let depth: Int

  indirect enum Kind: Sendable {
    case literal(Literal)
    case name(String)
    case attribute(Expression, String)
    case item(Expression, Expression)
    case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
    case call(Expression, Arguments)
    /// The operand is nil in `{% filter … %}` and `{% set x | … %}`, where the block's text takes its place.
    case filter(Expression?, String, Arguments)
    case test(Expression, String, Arguments)
    case not(Expression)
    case negative(Expression)
    case positive(Expression)
    case binary(Expression, Operator, Expression)
    case and(Expression, Expression)
    case or(Expression, Expression)
    /// `a < b <= c`: compares each neighbouring pair.
    case comparison(Expression, [(Comparison, Expression)])
    case conditional(Expression, then: Expression, otherwise: Expression?)
    case concatenation([Expression])
    case list([Expression])
    case tuple([Expression])
    case dict([(key: Expression, value: Expression)])
  }
}

enum Literal: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
}

enum Operator: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case modulo = "%"
  case power = "**"
}

enum Comparison: String, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case isIn = "in"
  case isNotIn = "not in"
}

/// The arguments of a call, filter or test, with `*spread` and `**spread` last.
struct Arguments: Sendable {
  var positional: [Expression] = []
  var named: [(name: String, value: Expression)] = []
  var spread: Expression?
  var namedSpread: Expression?
}

/// The target of an assignment.
indirect enum Target: Sendable {
  case name(String)
  case attribute(namespace: String, String)
  case tuple([Target])
}

struct Parameter: Sendable {
  let name: String
  let defaultValue: Expression?
}

struct Macro: Sendable {
  let name: String
  let parameters: [Parameter]
  let body: [Statement]
  /// Which of `varargs`, `kwargs` and `caller` the body mentions: only those are accepted.
  let mentions: Set<String>
}

struct Statement: Sendable {
  let line: Int
  let kind: Kind

  indirect enum Kind: Sendable {
    case text(String)
    case output(Expression)
    case set(Target, Expression)
    case setBlock(Target, filter: Expression?, [Statement])
    case `if`([(condition: Expression, body: [Statement])], otherwise: [Statement])
    case `for`(Loop)
    case macro(Macro)
    case call(Expression, Macro)
    case filter(Expression, [Statement])
    case with([(Target, Expression)], [Statement])
    /// A body in its own scope: `{% generation %}`, which only marks what the model wrote.
    case scope([Statement])
    case `break`
    case `continue`
  }

  struct Loop: Sendable {
    let target: Target
    let items: Expression
    let filter: Expression?
    let isRecursive: Bool
    let body: [Statement]
    let otherwise: [Statement]
  }
}
