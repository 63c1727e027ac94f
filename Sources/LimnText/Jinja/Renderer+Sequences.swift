import LimnCore

// Filters on sequences. Where Jinja returns a generator, these return an iterator that can be consumed once.

extension Renderer {
  static let sequenceFilters: Set<String> = [
    "batch", "dictsort", "first", "groupby", "items", "join", "last", "list", "map", "max", "min", "reject",
    "rejectattr",
    "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
  ]

  func sequenceFilter(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    try pay(value.weight)
    switch name {
    case "first", "last": return try end(name, value, call)
    case "reverse": return try reversed(value, call)
    case "items", "dictsort": return try dictionaryFilter(name, value, call)
    case "batch", "slice": return try parts(name, value, call)
    case "map":
      var results: [Value] = []
      let transform = try mapping(call)
      for item in value.isTrue ? try elements(of: value) : [] { results.append(try transform(item)) }
      return .iterator("generator", results)
    case "select", "reject", "selectattr", "rejectattr":
      guard value.isTrue else { return .iterator("generator", []) }
      let keeps = !name.hasPrefix("reject")
      let isSelected = try selection(call, ofAttribute: name.hasSuffix("attr"))
      var results: [Value] = []
      for item in try elements(of: value) where try isSelected(item) == keeps { results.append(item) }
      return .iterator("generator", results)
    case "join":
      let arguments = try call.bound(to: "d", "attribute", of: name)
      var texts: [String] = []
      for item in try elements(of: value) { texts.append(try printed(try attribute(arguments[1], of: item))) }
      return .string(
        try joined(texts, by: try arguments[0].map { (d) throws(LimnError) in try printed(d) } ?? ""))
    case "list":
      _ = try call.bound(of: name)
      return try checked(.list(try elements(of: value)))
    case "sum":
      let arguments = try call.bound(to: "attribute", "start", of: name)
      var sum = arguments[1] ?? .int(0)
      guard sum.text == nil else { throw fail("'sum' does not join strings") }
      for item in try elements(of: value) {
        sum = try binary(.add, sum, try attribute(arguments[0], of: item))
      }
      return sum
    default: return try ordered(name, value, call)
    }
  }

  private func end(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    _ = try call.bound(of: name)
    if case .iterator(let iterator) = value {
      guard name == "first" else { throw fail("'last' needs a sequence, not an iterator") }
      guard iterator.position < iterator.items.values.count else {
        return .undefined("No first item, sequence was empty.")
      }
      iterator.position += 1
      return iterator.items.values[iterator.position - 1]
    }
    let items = try elements(of: value)
    return (name == "first" ? items.first : items.last) ?? .undefined("No \(name) item, sequence was empty.")
  }

  private func reversed(_ value: Value, _ call: Call) throws(LimnError) -> Value {
    _ = try call.bound(of: "reverse")
    if let text = value.text { return like(value, String(scalars: text.unicodeScalars.reversed())) }
    let items: [Value] = try elements(of: value).reversed()
    // A generator cannot be reversed lazily: Jinja makes a list of it.
    if case .iterator = value { return .list(items) }
    return .iterator("list_reverseiterator", items)
  }

  private func dictionaryFilter(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    if name == "items" {
      _ = try call.bound(of: name)
      if value.isUndefined { return .iterator("generator", []) }
    }
    guard case .dict(let mapping) = value else {
      throw fail("'\(name)' needs a dictionary, not a \(value.typeName)")
    }
    let entries = pairs(of: mapping)
    if name == "items" { return .iterator("generator", entries) }
    let arguments = try call.bound(to: "case_sensitive", "by", "reverse", of: name)
    let by = try optionalText(arguments[1], of: name) ?? "key"
    guard by == "key" || by == "value" else { throw fail("'dictsort' sorts by key or value") }
    let isSensitive = arguments[0]?.isTrue ?? false
    let keys = mapping.entries.map { folded(by == "key" ? $0.key : $0.value, unless: isSensitive) }
    return .list(try sorted(entries, by: keys, backwards: arguments[2]?.isTrue ?? false))
  }

  private func parts(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    let arguments = try call.bound(to: name == "batch" ? "linecount" : "slices", "fill_with", of: name)
    guard let count = try optionalInteger(arguments[0], of: name) else {
      throw fail("'\(name)' needs a number")
    }
    let fill = arguments[1].flatMap { $0.isNone ? nil : $0 }
    let items = try elements(of: value)
    var parts: [[Value]] = []
    if name == "batch" {
      for item in items {
        if parts.isEmpty || parts[parts.count - 1].count == count { parts.append([]) }
        parts[parts.count - 1].append(item)
      }
      if let fill, let last = parts.last, last.count < count {
        try pay(count, times: 16)
        parts[parts.count - 1] += Array(repeating: fill, count: count - last.count)
      }
    } else {
      guard count != 0 else { throw fail("division by zero") }
      try pay(max(0, count), times: 64)
      var start = 0
      for index in 0..<max(0, count) {
        let size = items.count / count + (index < items.count % count ? 1 : 0)
        parts.append(Array(items[start..<start + size]))
        if let fill, index >= items.count % count { parts[index].append(fill) }
        start += size
      }
    }
    return .iterator("generator", parts.map { .list($0) })
  }

  // MARK: Attributes, transformations, selections

  /// An attribute of `item`, given as Jinja's filters take it: a path "a.b.0" or an index. Without a path,
  /// the item itself.
  private func attribute(_ path: Value?, of item: Value, default fallback: Value? = nil) throws(LimnError)
    -> Value
  {
    guard let path, !path.isNone else { return item }
    guard let text = path.text else { return try self.item(path, of: item) }
    var result = item
    for part in text.unicodeScalars.split(separator: ".", omittingEmptySubsequences: false) {
      let isIndex = !part.isEmpty && part.allSatisfy { ("0"..."9").contains($0) }
      let index: Value = isIndex ? .int(Int(String(part)) ?? .max) : .string(String(part))
      result = try self.item(index, of: result)
      if result.isUndefined, let fallback { result = fallback }
    }
    return result
  }

  private func mapping(_ call: Call) throws(LimnError) -> (Value) throws(LimnError) -> Value {
    var call = call
    if call.positional.isEmpty, let path = call.take("attribute") {
      let fallback = call.take("default")
      guard call.named.isEmpty else { throw fail("'map' takes no argument '\(call.named[0].name)'") }
      return { (item) throws(LimnError) in try self.attribute(path, of: item, default: fallback) }
    }
    guard let name = call.positional.first?.text else { throw fail("'map' needs a filter or an attribute") }
    call.positional.removeFirst()
    let rest = call
    return { (item) throws(LimnError) in
      try self.pay(Self.stepCost)
      return try self.filter(name, item, rest)
    }
  }

  private func selection(_ call: Call, ofAttribute: Bool) throws(LimnError) -> (Value) throws(LimnError) ->
    Bool
  {
    var call = call
    var path: Value?
    if ofAttribute {
      guard let first = call.positional.first else { throw fail("an attribute to select by is missing") }
      path = first
      call.positional.removeFirst()
    }
    guard let test = call.positional.first else {
      return { (item) throws(LimnError) in try self.attribute(path, of: item).isTrue }
    }
    guard let name = test.text else { throw fail("a test has no name") }
    call.positional.removeFirst()
    let rest = call
    return { (item) throws(LimnError) in
      try self.pay(Self.stepCost)
      return try self.test(name, try self.attribute(path, of: item), rest)
    }
  }

  // MARK: Order

  /// Lowercases strings, so that they compare without regard to case unless case matters.
  private func folded(_ value: Value, unless isSensitive: Bool) -> Value {
    guard !isSensitive, let text = value.text else { return value }
    return .string(text.lowercased())
  }

  private func ordered(_ name: String, _ value: Value, _ call: Call) throws(LimnError) -> Value {
    var call = call
    let isBackwards =
      name == "sort"
      && (call.positional.isEmpty ? call.take("reverse") : call.positional.removeFirst())?.isTrue ?? false
    let arguments =
      name == "groupby"
      ? try call.bound(to: "attribute", "default", "case_sensitive", of: name)
      : try call.bound(to: "case_sensitive", "attribute", of: name)
    let path = arguments[name == "groupby" ? 0 : 1]
    let isSensitive = arguments[name == "groupby" ? 2 : 0]?.isTrue ?? false
    let fallback = name == "groupby" ? arguments[1] : nil
    let items = try elements(of: value)
    var keys: [Value] = []
    for item in items {
      if name == "sort", let text = path?.text {
        var parts: [Value] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
          parts.append(folded(try attribute(.string(String(part)), of: item), unless: isSensitive))
        }
        keys.append(.list(parts))
      } else {
        keys.append(folded(try attribute(path, of: item, default: fallback), unless: isSensitive))
      }
    }
    switch name {
    case "sort": return .list(try sorted(items, by: keys, backwards: isBackwards))
    case "unique": return .iterator("generator", try unique(items, by: keys))
    case "groupby":
      guard path != nil else { throw fail("'groupby' needs an attribute") }
      return try grouped(items, by: keys, path, fallback)
    default:
      guard var best = items.indices.first else {
        return .undefined("No aggregated item, sequence was empty.")
      }
      for index in items.indices.dropFirst() {
        let isBetter =
          name == "min" ? try precedes(keys[index], keys[best]) : try precedes(keys[best], keys[index])
        if isBetter { best = index }
      }
      return items[best]
    }
  }

  /// A stable sort in both directions: equal items keep their order, as in Python.
  private func sorted(_ items: [Value], by keys: [Value], backwards: Bool) throws(LimnError) -> [Value] {
    try pay(items.count, times: Self.stepCost)
    var failure: LimnError?
    let order = items.indices.sorted { a, b in
      guard failure == nil else { return a < b }
      do throws(LimnError) {
        let (first, second) = backwards ? (keys[b], keys[a]) : (keys[a], keys[b])
        if try precedes(first, second) { return true }
        return try !precedes(second, first) && a < b
      } catch {
        failure = error
        return a < b
      }
    }
    if let failure { throw failure }
    return order.map { items[$0] }
  }

  private func unique(_ items: [Value], by keys: [Value]) throws(LimnError) -> [Value] {
    var seen = Set<HashedKey>()
    var results: [Value] = []
    for (item, key) in zip(items, keys) {
      guard let hashed = HashedKey(key) else { throw fail("'unique' of a \(key.typeName)") }
      if seen.insert(hashed).inserted { results.append(item) }
    }
    return results
  }

  private func grouped(_ items: [Value], by keys: [Value], _ path: Value?, _ fallback: Value?)
    throws(LimnError) -> Value
  {
    let order = try sorted(items.indices.map { .int($0) }, by: keys, backwards: false).map { $0.integer! }
    var groups: [[Int]] = []
    for index in order {
      if let last = groups.last?[0], keys[last].equals(keys[index]) {
        groups[groups.count - 1].append(index)
      } else {
        groups.append([index])
      }
    }
    var results: [Value] = []
    for group in groups {
      let name = try attribute(path, of: items[group[0]], default: fallback)
      results.append(.tuple([name, .list(group.map { items[$0] })]))
    }
    return try checked(.list(results))
  }
}
