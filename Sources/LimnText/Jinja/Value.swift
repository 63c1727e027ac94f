/// A value in a template: the Python values that templates can reach.
///
/// transformers' sandbox forbids changing lists and dictionaries, so they are plain values here. Nothing
/// nests deeper than `Value.depthLimit`, so printing, comparing and freeing can recurse safely.
enum Value {
  /// Jinja's `Undefined`, with the error message of using it.
  case undefined(String)
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  /// A string made by the filters `safe` and `escape`: a string added to it is escaped.
  case markup(String)
  case list(Items)
  case tuple(Items)
  case dict(Mapping)
  /// `dict.keys()`, `.values()`, `.items()`: can be iterated and counted, not indexed.
  case view(String, Items)
  case range(IntegerRange)
  /// What `map`, `select`, `reverse` … return: can be iterated once.
  case iterator(Generator)
  /// Indices into the renderer's lists, because namespaces and macros may form reference cycles.
  case namespace(Int)
  case macro(Int)
  case loop(Loop)
  case method(Method)
  case function(String)

  /// Above the depth limit of JSON input (128).
  static let depthLimit = 200
}

/// The elements of a list or tuple.
struct Items {
  let values: [Value]
  let depth: Int
  /// The approximate printed size in bytes. Kept here rather than computed by a walk: where lists share their
  /// elements, a few of them can print as an astronomically long text.
  let weight: Int

  init(_ values: [Value]) {
    self.values = values
    depth = 1 + values.reduce(0) { max($0, $1.depth) }
    weight = values.reduce(2) { $0.saturatingSum($1.weight + 4) }
  }
}

extension Int {
  /// The sum, capped at half of the largest integer.
  func saturatingSum(_ other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max / 2 : Swift.min(sum, .max / 2)
  }
}

/// A dictionary that keeps insertion order.
struct Mapping {
  private(set) var entries: [(key: Value, value: Value)] = []
  private(set) var depth = 1
  private(set) var weight = 2
  private var places: [HashedKey: Int] = [:]

  init() {}

  var count: Int { entries.count }

  subscript(_ key: Value) -> Value? {
    HashedKey(key).flatMap { places[$0] }.map { entries[$0].value }
  }

  subscript(_ key: String) -> Value? { self[.string(key)] }

  /// - Returns: whether `key` is hashable (a list is not).
  @discardableResult
  mutating func set(_ key: Value, to value: Value) -> Bool {
    guard let hashed = HashedKey(key) else { return false }
    depth = max(depth, value.depth + 1, key.depth + 1)
    weight = weight.saturatingSum(key.weight.saturatingSum(value.weight + 8))
    if let place = places[hashed] {
      entries[place].value = value
    } else {
      places[hashed] = entries.count
      entries.append((key, value))
    }
    return true
  }
}

/// Python's `range`; at most 100,000 elements, as in Jinja's sandbox.
struct IntegerRange {
  let start: Int
  /// As given; used only for printing.
  let stop: Int
  let step: Int
  let count: Int

  subscript(_ index: Int) -> Value { .int(start + index * step) }
  var values: [Value] { (0..<count).map { self[$0] } }
}

/// A generator: its elements are known and handed out once.
final class Generator {
  let kind: String
  let items: Items
  var position = 0

  init(_ kind: String, _ items: Items) {
    self.kind = kind
    self.items = items
  }

  func rest() -> [Value] {
    defer { position = items.values.count }
    return Array(items.values[position...])
  }
}

/// A method bound to its receiver.
final class Method {
  let receiver: Value
  let name: String

  init(_ receiver: Value, _ name: String) {
    self.receiver = receiver
    self.name = name
  }
}

extension Value {
  var depth: Int {
    switch self {
    case .list(let items), .tuple(let items), .view(_, let items): items.depth
    case .dict(let mapping): mapping.depth
    case .iterator(let iterator): iterator.items.depth + 1
    case .loop(let loop): loop.depth + 1
    case .method(let method): method.receiver.depth + 1
    default: 0
    }
  }

  static func list(_ values: [Value]) -> Value { .list(Items(values)) }
  static func tuple(_ values: [Value]) -> Value { .tuple(Items(values)) }
  static func iterator(_ kind: String, _ values: [Value]) -> Value {
    .iterator(Generator(kind, Items(values)))
  }

  /// The text of a plain or marked string.
  var text: String? {
    switch self {
    case .string(let text), .markup(let text): text
    default: nil
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var isNone: Bool { if case .none = self { true } else { false } }

  /// The value of an integer or of a boolean, which is an integer in Python.
  var integer: Int? {
    switch self {
    case .int(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  var number: Double? {
    if case .float(let value) = self { return value }
    return integer.map(Double.init)
  }

  /// Python's truth value.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .float(let value): value != 0
    case .string(let text), .markup(let text): !text.isEmpty
    case .list(let items), .tuple(let items), .view(_, let items): !items.values.isEmpty
    case .dict(let mapping): mapping.count > 0
    case .range(let range): range.count > 0
    case .iterator, .namespace, .macro, .loop, .method, .function: true
    }
  }

  /// The type's name in Python, for messages.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .float: "float"
    case .string: "str"
    case .markup: "Markup"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .view(let kind, _): kind
    case .range: "range"
    case .iterator(let iterator): iterator.kind
    case .namespace: "Namespace"
    case .macro: "Macro"
    case .loop: "LoopContext"
    case .method, .function: "function"
    }
  }
}

/// A value as a dictionary key: 1, 1.0 and true are the same key; lists and dictionaries cannot be keys.
struct HashedKey: Hashable {
  let value: Value

  init?(_ value: Value) {
    switch value {
    case .list, .dict, .view, .iterator, .loop, .method: return nil
    case .tuple(let items):
      // No real template uses long tuples as keys, and hashing them would be unpaid work.
      guard items.weight < 4096, items.values.allSatisfy({ HashedKey($0) != nil }) else { return nil }
    default: break
    }
    self.value = value
  }

  static func == (a: HashedKey, b: HashedKey) -> Bool { a.value.equals(b.value) }

  func hash(into hasher: inout Hasher) {
    switch value {
    case .string(let text), .markup(let text): for byte in text.utf8 { hasher.combine(byte) }
    case .tuple(let items): for item in items.values { HashedKey(item)?.hash(into: &hasher) }
    case .bool, .int, .float: hasher.combine(value.number! == 0 ? 0 : value.number!)
    case .namespace(let index), .macro(let index): hasher.combine(index)
    default: hasher.combine(0)
    }
  }
}
