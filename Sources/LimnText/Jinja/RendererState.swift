import LimnCore

/// The variables of a block. Names not found here are looked up in the parent.
final class Scope {
  var variables: [String: Value] = [:]
  let parent: Scope?

  init(parent: Scope?) { self.parent = parent }
}

/// The evaluated arguments of a call.
struct Call {
  var positional: [Value] = []
  var named: [(name: String, value: Value)] = []

  mutating func add(_ name: String, _ value: Value) throws(LimnError) {
    guard !named.contains(where: { $0.name == name }) else {
      throw .badData("the argument '\(name)' is given twice")
    }
    named.append((name, value))
  }

  mutating func take(_ name: String) -> Value? {
    named.firstIndex { $0.name == name }.map { named.remove(at: $0).value }
  }

  /// The arguments in the order of the parameters, nil where one is missing. Parameters that begin with `_`
  /// are positional only.
  func bound(to parameters: String..., of function: String) throws(LimnError) -> [Value?] {
    guard positional.count <= parameters.count else {
      throw .badData(
        "'\(function)' takes no more than \(parameters.count) arguments, not \(positional.count)")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in named {
      guard !name.hasPrefix("_"), let index = parameters.firstIndex(of: name), values[index] == nil else {
        throw .badData("'\(function)' takes no argument '\(name)' here")
      }
      values[index] = value
    }
    return values
  }
}

/// A running `for` loop: what templates see as `loop`.
final class Loop {
  let items: Items
  let statement: Statement.Loop
  let depth0: Int
  var filter: ((Value) throws(LimnError) -> Bool)?
  private(set) var index0 = -1
  private(set) var previous: Value?
  private(set) var current: Value?
  private var position = 0
  private var peeked: Value?
  /// The items after the current one, if `loop.length` has already run the filter to the end.
  private var following: [Value]?
  var changedValues: [Value]?

  init(items: Items, statement: Statement.Loop, depth: Int) {
    self.items = items
    self.statement = statement
    depth0 = depth
  }

  var depth: Int { items.depth }
  var knownCount: Int { items.values.count }

  private func fetch() throws(LimnError) -> Value? {
    if let following {
      guard position < following.count else { return nil }
      position += 1
      return following[position - 1]
    }
    while position < items.values.count {
      let item = items.values[position]
      position += 1
      guard let filter else { return item }
      if try filter(item) { return item }
    }
    return nil
  }

  /// Moves to the next item; false at the end.
  func advance() throws(LimnError) -> Bool {
    guard let next = try next() else { return false }
    peeked = nil
    previous = current
    current = next
    index0 += 1
    return true
  }

  /// The item after the current one. Peeking runs the filter early, as in Jinja.
  func next() throws(LimnError) -> Value? {
    if peeked == nil { peeked = try fetch() }
    return peeked
  }

  func count() throws(LimnError) -> Int {
    if filter == nil { return items.values.count }
    let ahead = peeked == nil ? 0 : 1
    if following == nil {
      var rest: [Value] = []
      while let item = try fetch() { rest.append(item) }
      following = rest
      position = 0
    }
    return index0 + 1 + ahead + following!.count - position
  }

  /// Breaks the reference cycles that the closure and `changed` could form.
  func finish() {
    filter = nil
    changedValues = nil
  }
}

extension Literal {
  var value: Value {
    switch self {
    case .none: .none
    case .bool(let value): .bool(value)
    case .int(let value): .int(value)
    case .float(let value): .float(value)
    case .string(let text): .string(text)
    }
  }
}
