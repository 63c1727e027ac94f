import LimnFiles
import LimnCore

import CLimnSystem

// Calls of global functions and of methods of strings, lists and dictionaries.

extension Renderer {
  static let globals: Set<String> = ["range", "dict", "namespace", "raise_exception", "strftime_now"]

  func call(_ callee: Value, _ call: Call) throws(LimnError) -> Value {
    switch callee {
    case .function(let name): return try callGlobal(name, call)
    case .macro(let index): return try callMacro(index, call)
    case .loop(let loop):
      guard let items = try call.bound(to: "iterable", of: "loop")[0] else {
        throw fail("'loop' is called without items")
      }
      return try recurse(loop, over: items)
    case .method(let method):
      switch method.receiver {
      case .string, .markup: return try stringMethod(method.name, method.receiver, call)
      case .dict(let mapping): return try dictMethod(method.name, mapping, call)
      case .list(let items), .tuple(let items):
        return try listMethod(method.name, method.receiver, items, call)
      case .range:
        return try listMethod(method.name, method.receiver, Items(try elements(of: method.receiver)), call)
      case .loop(let loop): return try loopMethod(method.name, loop, call)
      default: throw fail("'\(method.name)' cannot be called")
      }
    case .undefined(let message): throw fail(message)
    default: throw fail("a \(callee.typeName) cannot be called")
    }
  }

  func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }

  // MARK: Global functions

  private func callGlobal(_ name: String, _ call: Call) throws(LimnError) -> Value {
    switch name {
    case "range": return try range(call)
    case "namespace", "dict":
      var mapping = Mapping()
      if let first = call.positional.first {
        guard call.positional.count == 1 else { throw fail("'\(name)' takes one argument without a name") }
        try fill(&mapping, from: first)
      }
      for (key, value) in call.named { mapping.set(.string(key), to: value) }
      if name == "dict" { return try checked(.dict(mapping)) }
      if let key = mapping.entries.first(where: { $0.key.text?.hasPrefix("_") ?? false })?.key {
        throw .badData("an attribute of a namespace begins with '_'", found: key.printed)
      }
      try pay(64 + 64 * mapping.count)
      namespaces.append(mapping)
      return .namespace(namespaces.count - 1)
    case "strftime_now":
      guard let format = try call.bound(to: "format", of: name)[0]?.text else {
        throw fail("'strftime_now' needs a format")
      }
      return .string(now(format))
    default:
      let message = try call.bound(to: "message", of: name)[0]
      throw .badData(
        "the chat template refuses: \(try message.map { (m) throws(LimnError) in try printed(m) } ?? "")")
    }
  }

  private func fill(_ mapping: inout Mapping, from value: Value) throws(LimnError) {
    if case .dict(let other) = value {
      mapping = other
      return
    }
    for pair in try elements(of: value) {
      let pair = try elements(of: pair)
      guard pair.count == 2, mapping.set(pair[0], to: pair[1]) else {
        throw fail("a dictionary is made of pairs")
      }
    }
  }

  private func range(_ call: Call) throws(LimnError) -> Value {
    guard call.named.isEmpty, (1...3).contains(call.positional.count) else {
      throw fail("'range' takes one to three integers")
    }
    var bounds: [Int] = []
    for value in call.positional {
      guard let bound = value.integer else { throw fail("'range' takes integers") }
      bounds.append(bound)
    }
    let (start, stop) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
    let step = bounds.count == 3 ? bounds[2] : 1
    guard step != 0 else { throw fail("the step of a range is zero") }
    let span =
      step > 0
      ? try exact(stop.subtractingReportingOverflow(start))
      : try exact(start.subtractingReportingOverflow(stop))
    guard span > 0 else { return .range(IntegerRange(start: start, stop: stop, step: step, count: 0)) }
    let count = (span - 1) / Int(clamping: step.magnitude) + 1
    guard count <= 100_000 else { throw fail("a range longer than 100,000") }
    return .range(IntegerRange(start: start, stop: stop, step: step, count: count))
  }

  /// The local time, formatted by the C library's `strftime`.
  private func now(_ format: String) -> String {
    var seconds = time(nil)
    var parts = tm()
    localtime_r(&seconds, &parts)
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = strftime(&buffer, buffer.count, format, &parts)
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private func loopMethod(_ name: String, _ loop: Loop, _ call: Call) throws(LimnError) -> Value {
    if name == "cycle" {
      guard !call.positional.isEmpty else { throw fail("'cycle' without items") }
      return call.positional[max(0, loop.index0) % call.positional.count]
    }
    try pay(Items(call.positional).weight)
    let isNew = !(loop.changedValues.map { Value.tuple($0).equals(.tuple(call.positional)) } ?? false)
    loop.changedValues = call.positional
    return .bool(isNew)
  }

  // MARK: Dictionaries and lists

  static let dictMethods: Set<String> = ["keys", "values", "items", "get", "copy"]
  static let changingDictMethods: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
  static let listMethods: Set<String> = ["count", "index", "copy"]
  static let changingListMethods: Set<String> = [
    "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove",
  ]

  private func dictMethod(_ name: String, _ mapping: Mapping, _ call: Call) throws(LimnError) -> Value {
    if name == "get" {
      let arguments = try call.bound(to: "_key", "_default", of: name)
      guard let key = arguments[0], HashedKey(key) != nil else { throw fail("'get' needs a key") }
      try pay(key.weight)
      return mapping[key] ?? arguments[1] ?? .none
    }
    _ = try call.bound(of: name)
    try pay(mapping.count, times: 16)
    switch name {
    case "keys": return .view("dict_keys", Items(mapping.entries.map(\.key)))
    case "values": return .view("dict_values", Items(mapping.entries.map(\.value)))
    case "items": return .view("dict_items", Items(pairs(of: mapping)))
    default: return .dict(mapping)
    }
  }

  func pairs(of mapping: Mapping) -> [Value] { mapping.entries.map { .tuple([$0.key, $0.value]) } }

  private func listMethod(_ name: String, _ list: Value, _ items: Items, _ call: Call) throws(LimnError)
    -> Value
  {
    if name == "copy" {
      _ = try call.bound(of: name)
      return list
    }
    guard let wanted = try call.bound(to: "_value", of: name)[0] else {
      throw fail("'\(name)' needs a value")
    }
    try pay(list.weight)
    if name == "count" { return .int(items.values.count { $0.equals(wanted) }) }
    guard let index = items.values.firstIndex(where: { $0.equals(wanted) }) else {
      throw fail("'index' of a value that is not in the list")
    }
    return .int(index)
  }
}
