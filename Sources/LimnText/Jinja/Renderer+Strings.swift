import LimnCore

// The methods of strings.

extension Renderer {
  static let stringMethods: Set<String> = [
    "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "index",
    "isalnum",
    "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "isupper", "join",
    "ljust", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust",
    "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
  ]

  func stringMethod(_ name: String, _ receiver: Value, _ call: Call) throws(LimnError) -> Value {
    let text = receiver.text!
    try pay(text.utf8.count)
    func string(_ text: String) -> Value { like(receiver, text) }
    switch name {
    case "strip", "lstrip", "rstrip":
      let characters = try optionalText(try call.bound(to: "_chars", of: name)[0], of: name)
      return string(text.stripped(characters, left: name != "rstrip", right: name != "lstrip"))
    case "split", "rsplit": return try split(name, receiver, text, call)
    case "startswith", "endswith": return .bool(try startsOrEnds(name, text, call))
    case "find", "rfind", "index", "rindex", "count": return try search(name, text, call)
    case "replace":
      let arguments = try call.bound(to: "_old", "_new", "count", of: name)
      let (old, new) = (try requiredText(arguments[0], of: name), try requiredText(arguments[1], of: name))
      return string(try replaced(text, old, new, count: try optionalInteger(arguments[2], of: name)))
    case "join":
      let arguments = try call.bound(to: "_iterable", of: name)
      guard let items = arguments[0] else { throw fail("'join' needs strings to join") }
      var parts: [String] = []
      for item in try elements(of: items) { parts.append(try requiredText(item, of: name)) }
      return string(try joined(parts, by: text))
    case "splitlines":
      let keeps = try call.bound(to: "keepends", of: name)[0]?.isTrue ?? false
      try pay(text.utf8.count, times: 16)
      return .list(text.lines(keepingEnds: keeps).map(string))
    case "removeprefix", "removesuffix":
      let part = try requiredText(try call.bound(to: "_part", of: name)[0], of: name)
      if name == "removeprefix" {
        return string(text.starts(withText: part) ? text.bytes(part.utf8.count..<text.utf8.count) : text)
      }
      let isThere = !part.isEmpty && text.ends(withText: part)
      return string(isThere ? text.bytes(0..<text.utf8.count - part.utf8.count) : text)
    case "partition", "rpartition": return try partition(name, receiver, text, call)
    case "center", "ljust", "rjust", "zfill": return string(try padded(name, text, call))
    case "format": return string(try braceFormat(text, call))
    case "expandtabs":
      let size = try optionalInteger(try call.bound(to: "tabsize", of: name)[0], of: name) ?? 8
      return string(try expandedTabs(text, size))
    default:
      _ = try call.bound(of: name)
      return try plainMethod(name, text, string)
    }
  }

  /// Methods without arguments.
  private func plainMethod(_ name: String, _ text: String, _ string: (String) -> Value) throws(LimnError)
    -> Value
  {
    switch name {
    case "upper": return string(text.uppercased())
    case "lower": return string(text.lowercased())
    case "casefold": return string(text.lowercased().replacing(text: "ß", with: "ss", limit: .max))
    case "capitalize": return string(text.capitalised)
    case "title": return string(text.titled)
    case "swapcase":
      return string(
        text.unicodeScalars.reduce(into: "") {
          $0 += $1.properties.isUppercase ? $1.properties.lowercaseMapping : $1.properties.uppercaseMapping
        })
    case "islower": return .bool(text.hasOnlyCase(lower: true))
    case "isupper": return .bool(text.hasOnlyCase(lower: false))
    case "isspace": return .bool(text.hasOnly(\.isPythonSpace))
    case "isascii": return .bool(text.utf8.allSatisfy { $0 < 0x80 })
    case "isalpha": return .bool(text.hasOnly(\.isLetter))
    case "isdecimal": return .bool(text.hasOnly(\.isDecimalDigit))
    case "isdigit":
      return .bool(
        text.hasOnly { $0.properties.numericType == .decimal || $0.properties.numericType == .digit })
    case "isnumeric": return .bool(text.hasOnly { $0.properties.numericType != nil })
    case "isalnum": return .bool(text.hasOnly { $0.isLetter || $0.properties.numericType != nil })
    default: throw fail("the method '\(name)' of strings is not supported")
    }
  }

  // MARK: Arguments

  func requiredText(_ value: Value?, of name: String) throws(LimnError) -> String {
    guard let value else { throw fail("'\(name)' needs another argument") }
    if case .undefined(let message) = value { throw fail(message) }
    guard let text = value.text else { throw fail("'\(name)' needs a string, not a \(value.typeName)") }
    return text
  }

  func optionalText(_ value: Value?, of name: String) throws(LimnError) -> String? {
    guard let value, !value.isNone else { return nil }
    return try requiredText(value, of: name)
  }

  func optionalInteger(_ value: Value?, of name: String) throws(LimnError) -> Int? {
    guard let value, !value.isNone else { return nil }
    guard let integer = value.integer else {
      throw fail("'\(name)' needs an integer, not a \(value.typeName)")
    }
    return integer
  }

  // MARK: Splitting and searching

  private func split(_ name: String, _ receiver: Value, _ text: String, _ call: Call) throws(LimnError)
    -> Value
  {
    let arguments = try call.bound(to: "sep", "maxsplit", of: name)
    let limit = try optionalInteger(arguments[1], of: name) ?? -1
    let count = limit < 0 ? Int.max : limit
    try pay(text.utf8.count, times: 16)
    guard let separator = try optionalText(arguments[0], of: name) else {
      return .list(text.splitAtSpace(limit: count, fromRight: name == "rsplit").map { like(receiver, $0) })
    }
    guard !separator.isEmpty else { throw fail("an empty separator") }
    if name == "rsplit" { try pay(text.utf8.count, times: separator.utf8.count) }
    let offsets =
      name == "split"
      ? text.byteOffsets(of: separator, limit: count)
      : Array(lastOffsets(of: separator, in: text).suffix(count))
    return .list(text.cut(at: offsets, width: separator.utf8.count).map { like(receiver, $0) })
  }

  /// The byte offsets of non-overlapping occurrences, matched from the right.
  private func lastOffsets(of part: String, in text: String) -> [Int] {
    let (text, part) = (Array(text.utf8), Array(part.utf8))
    var offsets: [Int] = []
    var end = text.count
    while end >= part.count {
      if text[end - part.count..<end].elementsEqual(part) {
        end -= part.count
        offsets.append(end)
      } else {
        end -= 1
      }
    }
    return offsets.reversed()
  }

  private func partition(_ name: String, _ receiver: Value, _ text: String, _ call: Call) throws(LimnError)
    -> Value
  {
    let separator = try requiredText(try call.bound(to: "_sep", of: name)[0], of: name)
    guard !separator.isEmpty else { throw fail("an empty separator") }
    try pay(text.utf8.count, times: separator.utf8.count)
    let offset =
      name == "partition" ? text.byteOffset(of: separator) : lastOffsets(of: separator, in: text).last
    let parts: [String]
    if let offset {
      parts = [
        text.bytes(0..<offset), separator, text.bytes(offset + separator.utf8.count..<text.utf8.count),
      ]
    } else {
      parts = name == "partition" ? [text, "", ""] : ["", "", text]
    }
    return .tuple(parts.map { like(receiver, $0) })
  }

  /// The text between optional bounds, and where it begins; nil if the bounds cross.
  private func window(_ text: String, _ start: Value?, _ end: Value?, of name: String) throws(LimnError) -> (
    String, Int
  )? {
    let (start, end) = (try optionalInteger(start, of: name), try optionalInteger(end, of: name))
    guard start != nil || end != nil else { return (text, 0) }
    let scalars = Array(text.unicodeScalars)
    try pay(scalars.count, times: 4)
    func place(_ index: Int) -> Int { index < 0 ? max(0, index + scalars.count) : index }
    let (low, high) = (place(start ?? 0), min(place(end ?? scalars.count), scalars.count))
    return low <= high ? (String(scalars: scalars[low..<high]), low) : nil
  }

  private func startsOrEnds(_ name: String, _ text: String, _ call: Call) throws(LimnError) -> Bool {
    let arguments = try call.bound(to: "_part", "_start", "_end", of: name)
    guard let part = arguments[0] else { throw fail("'\(name)' needs a string") }
    var candidates: [String] = []
    if case .tuple(let items) = part {
      for item in items.values { candidates.append(try requiredText(item, of: name)) }
    } else {
      candidates = [try requiredText(part, of: name)]
    }
    guard let (text, _) = try window(text, arguments[1], arguments[2], of: name) else { return false }
    return candidates.contains { name == "startswith" ? text.starts(withText: $0) : text.ends(withText: $0) }
  }

  private func search(_ name: String, _ text: String, _ call: Call) throws(LimnError) -> Value {
    let arguments = try call.bound(to: "_part", "_start", "_end", of: name)
    let part = try requiredText(arguments[0], of: name)
    let window = try window(text, arguments[1], arguments[2], of: name)
    if name == "count" {
      guard let (text, _) = window else { return .int(0) }
      return .int(part.isEmpty ? text.scalarCount + 1 : text.byteOffsets(of: part).count)
    }
    if let (text, start) = window {
      try pay(text.utf8.count, times: name.hasPrefix("r") ? max(1, part.utf8.count) : 1)
      let isLast = name.hasPrefix("r")
      let offset =
        isLast
        ? (part.isEmpty ? text.utf8.count : lastOffsets(of: part, in: text).last) : text.byteOffset(of: part)
      if let offset { return .int(start + text.bytes(0..<offset).scalarCount) }
    }
    guard name.hasSuffix("find") else { throw fail("a substring that is not found") }
    return .int(-1)
  }

  func replaced(_ text: String, _ old: String, _ new: String, count: Int?) throws(LimnError) -> String {
    let limit = count.map { $0 < 0 ? Int.max : $0 } ?? .max
    let places = old.isEmpty ? text.scalarCount + 1 : text.byteOffsets(of: old, limit: limit).count
    try pay(text.utf8.count)
    try pay(min(places, limit), times: new.utf8.count + 16)
    return text.replacing(text: old, with: new, limit: limit)
  }

  func joined(_ parts: [String], by separator: String) throws(LimnError) -> String {
    try pay(parts.reduce(0) { $0 + $1.utf8.count })
    try pay(parts.count, times: separator.utf8.count)
    return parts.joined(separator: separator)
  }

  // MARK: Padding

  private func padded(_ name: String, _ text: String, _ call: Call) throws(LimnError) -> String {
    let arguments =
      name == "zfill"
      ? try call.bound(to: "_width", of: name) + [nil] : try call.bound(to: "_width", "_fill", of: name)
    guard let width = try optionalInteger(arguments[0], of: name) else {
      throw fail("'\(name)' needs a width")
    }
    let fill = try optionalText(arguments[1], of: name) ?? (name == "zfill" ? "0" : " ")
    guard fill.scalarCount == 1 else { throw fail("'\(name)' fills with one character") }
    let missing = width - min(width, text.scalarCount)
    try pay(missing, times: fill.utf8.count)
    switch name {
    case "ljust": return text + String(repeating: fill, count: missing)
    case "rjust": return String(repeating: fill, count: missing) + text
    case "center": return centred(text, width, fill: fill)
    default:
      let sign =
        text.starts(withText: "-") || text.starts(withText: "+") ? String(text.unicodeScalars.first!) : ""
      return sign + String(repeating: "0", count: missing) + text.bytes(sign.utf8.count..<text.utf8.count)
    }
  }

  /// If the number of blanks is odd, Python puts the extra one on the left when the width is odd.
  func centred(_ text: String, _ width: Int, fill: String = " ") -> String {
    let missing = width - min(width, text.scalarCount)
    let left = missing / 2 + (missing & width & 1)
    return String(repeating: fill, count: left) + text + String(repeating: fill, count: missing - left)
  }

  private func expandedTabs(_ text: String, _ size: Int) throws(LimnError) -> String {
    var result = ""
    var column = 0
    for scalar in text.unicodeScalars {
      if scalar == "\t" {
        let count = size > 0 ? size - column % size : 0
        try pay(count)
        result += String(repeating: " ", count: count)
        column += count
      } else {
        result.unicodeScalars.append(scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
    return result
  }
}
