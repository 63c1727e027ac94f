import LimnCore

// Operations on values: attributes, subscripts, arithmetic, comparison. Python's rules, and Jinja's for
// undefined values: they print as nothing, are false and empty, and any other use is an error.

extension Value {
  /// Python's `==`.
  func equals(_ other: Value) -> Bool {
    if let a = text, let b = other.text { return a.same(as: b) }
    if let a = integer, let b = other.integer { return a == b }
    if let a = number, let b = other.number { return a == b }
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      return a.values.count == b.values.count && zip(a.values, b.values).allSatisfy { $0.equals($1) }
    case (.dict(let a), .dict(let b)):
      return a.count == b.count && a.entries.allSatisfy { b[$0.key]?.equals($0.value) ?? false }
    case (.range(let a), .range(let b)):
      return a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step))
    case (.namespace(let a), .namespace(let b)), (.macro(let a), .macro(let b)): return a == b
    case (.loop(let a), .loop(let b)): return a === b
    case (.iterator(let a), .iterator(let b)): return a === b
    case (.function(let a), .function(let b)): return a == b
    default: return false
    }
  }
}

extension Renderer {
  func fail(_ what: String) -> LimnError { .badData("\(what)") }

  /// An undefined value reports its own message; otherwise the message names the types.
  private func unusable(_ values: Value..., for purpose: String) -> LimnError {
    for case .undefined(let message) in values { return fail(message) }
    return fail("\(purpose) does not work on \(values.map(\.typeName).joined(separator: " and "))")
  }

  /// Python's `str()`, paid for before it is built.
  func printed(_ value: Value) throws(LimnError) -> String {
    if let text = value.text { return text }
    try pay(value.weight)
    return value.printed
  }

  /// The elements that a loop iterates over. Consumes an iterator.
  func elements(of value: Value) throws(LimnError) -> [Value] {
    switch value {
    case .list(let items), .tuple(let items), .view(_, let items): return items.values
    case .undefined: return []
    case .dict(let mapping): return mapping.entries.map(\.key)
    case .range(let range):
      try pay(range.count, times: 16)
      return range.values
    case .iterator(let iterator): return iterator.rest()
    case .string(let text), .markup(let text):
      try pay(text.utf8.count, times: 16)
      return text.unicodeScalars.map { .string(String($0)) }
    default: throw unusable(value, for: "iteration")
    }
  }

  func length(of value: Value) throws(LimnError) -> Int {
    switch value {
    case .string(let text), .markup(let text):
      try pay(text.utf8.count)
      return text.scalarCount
    case .list(let items), .tuple(let items), .view(_, let items): return items.values.count
    case .dict(let mapping): return mapping.count
    case .range(let range): return range.count
    case .loop(let loop): return try loop.count()
    case .undefined: return 0
    default: throw unusable(value, for: "'length'")
    }
  }

  // MARK: Attributes and subscripts

  /// `value.name`: methods and attributes take precedence over the keys of a dictionary.
  func attribute(_ name: String, of value: Value) throws(LimnError) -> Value {
    if case .undefined(let message) = value { throw fail(message) }
    if let own = try ownAttribute(name, of: value) { return own }
    if case .dict(let mapping) = value, let member = mapping[name] { return member }
    return .undefined("a \(value.typeName) has no attribute '\(name)'")
  }

  /// `value[index]`: the keys of a dictionary take precedence over methods and attributes.
  func item(_ index: Value, of value: Value) throws(LimnError) -> Value {
    let element: Value?
    switch value {
    case .undefined(let message): throw fail(message)
    case .dict(let mapping):
      try pay(index.weight)
      element = mapping[index]
    case .list(let items), .tuple(let items):
      element = place(index, in: items.values.count).map { items.values[$0] }
    case .range(let range): element = place(index, in: range.count).map { range[$0] }
    case .string(let text), .markup(let text):
      try pay(index.integer == nil ? 0 : text.utf8.count)
      let scalars = text.unicodeScalars
      element = (index.integer == nil ? nil : place(index, in: scalars.count)).map {
        .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: $0)]))
      }
    default: element = nil
    }
    if let element { return element }
    if let name = index.text, let own = try ownAttribute(name, of: value) { return own }
    return .undefined("a \(value.typeName) has no element \(try representedBriefly(index))")
  }

  private func representedBriefly(_ value: Value) throws(LimnError) -> String {
    if let text = value.text { return String(text.pythonRepresentation.prefix(60)) }
    return value.integer.map(String.init) ?? "of type \(value.typeName)"
  }

  private func place(_ index: Value, in count: Int) -> Int? {
    guard let index = index.integer else { return nil }
    let place = index < 0 ? index + count : index
    return (0..<count).contains(place) ? place : nil
  }

  private func ownAttribute(_ name: String, of value: Value) throws(LimnError) -> Value? {
    switch value {
    case .namespace(let index): return namespaces[index][name]
    case .loop(let loop): return try attribute(name, of: loop)
    case .string, .markup: return Self.stringMethods.contains(name) ? .method(Method(value, name)) : nil
    case .dict:
      if Self.changingDictMethods.contains(name) { return unsafe(name, value) }
      return Self.dictMethods.contains(name) ? .method(Method(value, name)) : nil
    case .list:
      if Self.changingListMethods.contains(name) { return unsafe(name, value) }
      return Self.listMethods.contains(name) ? .method(Method(value, name)) : nil
    case .tuple, .range: return ["count", "index"].contains(name) ? .method(Method(value, name)) : nil
    default: return nil
    }
  }

  /// The sandbox hides mutating methods: they are undefined, and calling one is an error.
  private func unsafe(_ name: String, _ value: Value) -> Value {
    .undefined("access to attribute '\(name)' of '\(value.typeName)' is unsafe: templates cannot change it")
  }

  private func attribute(_ name: String, of loop: Loop) throws(LimnError) -> Value? {
    switch name {
    case "index": return .int(loop.index0 + 1)
    case "index0": return .int(loop.index0)
    case "first": return .bool(loop.index0 == 0)
    case "last": return .bool(try loop.next() == nil)
    case "length": return .int(try loop.count())
    case "revindex": return .int(try loop.count() - loop.index0)
    case "revindex0": return .int(try loop.count() - loop.index0 - 1)
    case "previtem": return loop.previous ?? .undefined("there is no previous item")
    case "nextitem": return try loop.next() ?? .undefined("there is no next item")
    case "depth": return .int(loop.depth0 + 1)
    case "depth0": return .int(loop.depth0)
    case "cycle", "changed": return .method(Method(.loop(loop), name))
    default: return nil
    }
  }

  func slice(_ value: Value, _ start: Value?, _ stop: Value?, _ step: Value?) throws(LimnError) -> Value {
    func bound(_ value: Value?) throws(LimnError) -> Int? {
      guard let value, !value.isNone else { return nil }
      guard let index = value.integer else { throw unusable(value, for: "a slice") }
      return index
    }
    let step = try bound(step) ?? 1
    guard step != 0 else { throw fail("the step of a slice is zero") }
    let (start, stop) = (try bound(start), try bound(stop))
    func indices(_ count: Int) throws(LimnError) -> StrideTo<Int> {
      try pay(count, times: 8)
      // Python clamps to 0...count going up and to -1...count-1 going down. Longer steps act like the count.
      let (low, high) = step > 0 ? (0, count) : (-1, count - 1)
      func clamped(_ index: Int?, _ missing: Int) -> Int {
        guard let index else { return missing }
        return min(max(index < 0 ? index + count : index, low), high)
      }
      let (first, end) = (clamped(start, step > 0 ? low : high), clamped(stop, step > 0 ? high : low))
      return stride(from: first, to: end, by: min(max(step, -count - 1), count + 1))
    }
    switch value {
    case .list(let items): return .list(try indices(items.values.count).map { items.values[$0] })
    case .tuple(let items): return .tuple(try indices(items.values.count).map { items.values[$0] })
    case .range(let range):
      let places = Array(try indices(range.count))
      guard let first = places.first, let last = places.last else {
        return .range(IntegerRange(start: range.start, stop: range.start, step: range.step, count: 0))
      }
      // With more than one element, the product is a distance within the range and cannot overflow.
      let newStep = places.count > 1 ? range.step * (places[1] - first) : range.step
      let end = (range.start + last * range.step) &+ newStep.signum()
      return .range(
        IntegerRange(start: range.start + first * range.step, stop: end, step: newStep, count: places.count))
    case .string(let text), .markup(let text):
      try pay(text.utf8.count, times: 4)
      let scalars = Array(text.unicodeScalars)
      return like(value, String(scalars: try indices(scalars.count).map { scalars[$0] }))
    default: throw unusable(value, for: "a slice")
    }
  }

  /// `text` as a string of the same kind as `value`.
  func like(_ value: Value, _ text: String) -> Value {
    if case .markup = value { .markup(text) } else { .string(text) }
  }

  // MARK: Arithmetic

  func number(_ value: Value) throws(LimnError) -> Value {
    if let integer = value.integer { return .int(integer) }
    guard case .float = value else { throw unusable(value, for: "a sign") }
    return value
  }

  func negated(_ value: Value) throws(LimnError) -> Value {
    if case .float(let value) = value { return .float(-value) }
    guard let integer = value.integer else { throw unusable(value, for: "a sign") }
    return .int(try exact(Int(0).subtractingReportingOverflow(integer)))
  }

  func exact(_ result: (partialValue: Int, overflow: Bool)) throws(LimnError) -> Int {
    guard !result.overflow else { throw fail("an integer beyond 64 bits") }
    return result.partialValue
  }

  func binary(_ operation: Operator, _ left: Value, _ right: Value) throws(LimnError) -> Value {
    if let a = left.integer, let b = right.integer { return try integers(operation, a, b) }
    if let a = left.number, let b = right.number { return .float(try floats(operation, a, b)) }
    switch (operation, left, right) {
    case (.add, .string(let a), .string(let b)):
      try pay(a.utf8.count + b.utf8.count)
      return .string(a + b)
    case (.add, _, _) where left.text != nil && right.text != nil:
      func escaped(_ value: Value) -> String {
        if case .markup(let text) = value { text } else { value.text!.htmlEscaped }
      }
      try pay(left.weight.saturatingSum(right.weight), times: 6)
      return .markup(escaped(left) + escaped(right))
    case (.add, .list(let a), .list(let b)):
      try pay(a.values.count + b.values.count, times: 16)
      return .list(a.values + b.values)
    case (.add, .tuple(let a), .tuple(let b)):
      try pay(a.values.count + b.values.count, times: 16)
      return .tuple(a.values + b.values)
    case (.multiply, _, _):
      if let count = right.integer { return try repeated(left, max(0, count)) }
      if let count = left.integer { return try repeated(right, max(0, count)) }
    case (.modulo, _, _) where left.text != nil:
      return like(left, try percentFormat(left.text!, right))
    default: break
    }
    throw unusable(left, right, for: "'\(operation.rawValue)'")
  }

  private func repeated(_ value: Value, _ count: Int) throws(LimnError) -> Value {
    switch value {
    case .string(let text), .markup(let text):
      try pay(count, times: text.utf8.count)
      return like(value, text.isEmpty ? "" : String(repeating: text, count: count))
    case .list(let items), .tuple(let items):
      try pay(count, times: 16 * items.values.count)
      let values = items.values.isEmpty ? [] : Array(repeatElement(items.values, count: count).joined())
      if case .list = value { return .list(values) }
      return .tuple(values)
    default: throw unusable(value, for: "'*'")
    }
  }

  private func integers(_ operation: Operator, _ a: Int, _ b: Int) throws(LimnError) -> Value {
    if [.divide, .floorDivide, .modulo].contains(operation), b == 0 { throw fail("division by zero") }
    switch operation {
    case .add: return .int(try exact(a.addingReportingOverflow(b)))
    case .subtract: return .int(try exact(a.subtractingReportingOverflow(b)))
    case .multiply: return .int(try exact(a.multipliedReportingOverflow(by: b)))
    case .divide: return .float(Double(a) / Double(b))
    case .floorDivide:
      let quotient = try exact(a.dividedReportingOverflow(by: b))
      return .int(a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient)
    case .modulo:
      let remainder = b == -1 ? 0 : a % b
      return .int(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder)
    case .power:
      guard b >= 0 else { return .float(try floats(.power, Double(a), Double(b))) }
      if a == 0 || a == 1 { return .int(b == 0 ? 1 : a) }
      if a == -1 { return .int(b % 2 == 0 ? 1 : -1) }
      guard b < 64 else { throw fail("an integer beyond 64 bits") }
      var result = 1
      for _ in 0..<b { result = try exact(result.multipliedReportingOverflow(by: a)) }
      return .int(result)
    }
  }

  private func floats(_ operation: Operator, _ a: Double, _ b: Double) throws(LimnError) -> Double {
    if [.divide, .floorDivide, .modulo].contains(operation), b == 0 { throw fail("division by zero") }
    switch operation {
    case .add: return a + b
    case .subtract: return a - b
    case .multiply: return a * b
    case .divide: return a / b
    case .floorDivide:
      let quotient = ((a - modulo(a, b)) / b).rounded()
      return quotient == 0 ? Double(signOf: a / b, magnitudeOf: 0) : quotient
    case .modulo: return modulo(a, b)
    case .power:
      if a == 0, b < 0 { throw fail("division by zero") }
      if a < 0, b != b.rounded() { throw fail("a complex number") }
      return power(a, b)
    }
  }

  private func modulo(_ a: Double, _ b: Double) -> Double {
    let remainder = a.truncatingRemainder(dividingBy: b)
    if remainder == 0 { return b < 0 ? -0.0 : 0.0 }
    return (remainder < 0) != (b < 0) ? remainder + b : remainder
  }

  // MARK: Comparison

  func compare(_ left: Value, _ comparison: Comparison, _ right: Value) throws(LimnError) -> Bool {
    switch comparison {
    case .equal, .notEqual:
      try pay(min(left.weight, right.weight))
      return left.equals(right) == (comparison == .equal)
    case .isIn: return try contains(right, left)
    case .isNotIn: return !(try contains(right, left))
    case .less: return try precedes(left, right)
    case .greater: return try precedes(right, left)
    case .lessOrEqual: return try precedes(left, right) || isSame(left, right)
    case .greaterOrEqual: return try precedes(right, left) || isSame(left, right)
    }
  }

  private func isSame(_ left: Value, _ right: Value) -> Bool { left.equals(right) }

  /// Python's `<`.
  func precedes(_ left: Value, _ right: Value) throws(LimnError) -> Bool {
    if let a = left.integer, let b = right.integer { return a < b }
    if let a = left.number, let b = right.number { return a < b }
    try pay(min(left.weight, right.weight))
    if let a = left.text, let b = right.text {
      return a.unicodeScalars.lexicographicallyPrecedes(b.unicodeScalars)
    }
    switch (left, right) {
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      for (a, b) in zip(a.values, b.values) where !a.equals(b) { return try precedes(a, b) }
      return a.values.count < b.values.count
    default: throw unusable(left, right, for: "an order")
    }
  }

  /// Python's `element in container`.
  func contains(_ container: Value, _ element: Value) throws(LimnError) -> Bool {
    switch container {
    case .string(let text), .markup(let text):
      guard let part = element.text else { throw unusable(element, for: "'in' a string") }
      try pay(text.utf8.count)
      return text.byteOffset(of: part) != nil
    case .dict(let mapping):
      guard HashedKey(element) != nil else { throw unusable(element, for: "'in' a dictionary") }
      try pay(element.weight)
      return mapping[element] != nil
    default:
      for candidate in try elements(of: container) {
        try pay(16 + min(candidate.weight, element.weight))
        if candidate.equals(element) { return true }
      }
      return false
    }
  }
}
