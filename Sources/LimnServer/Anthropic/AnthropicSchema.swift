package import LimnCore

/// Schemas as Anthropic's client sends them: it moves bounds that Anthropic's own service does not enforce into the
/// description, as in "How many trees\n\n{minimum: 0, maximum: 4}", and checks the answer against them afterwards. Here
/// they are enforced, so they are put back.
package enum AnthropicSchema {
  private static let numbers: Set<String> = [
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "multipleOf",
  ]

  package static func restored(_ schema: JSON) -> JSON {
    switch schema {
    case .array(let items): return .array(items.map(restored))
    case .object(let object):
      var result = JSONObject()
      for (key, value) in object.members {
        // What is inside these are values, not schemas.
        result.set(key, to: ["enum", "const", "default", "examples"].contains(key) ? value : restored(value))
      }
      // A property may itself be called "description"; then it is no string.
      for (key, value) in bounds(in: object["description"]?.string ?? "") where result[key] == nil {
        result.set(key, to: value)
      }
      return .object(result)
    default: return schema
    }
  }

  /// The bounds in a description's last line.
  private static func bounds(in description: String) -> [(String, JSON)] {
    guard let line = description.split(separator: "\n").last, line.hasPrefix("{"), line.hasSuffix("}") else {
      return []
    }
    var bounds: [(key: String, value: String)] = []
    for piece in line.dropFirst().dropLast().split(separator: ", ", omittingEmptySubsequences: false) {
      let words = piece.split(separator: ": ", maxSplits: 1)
      if words.count == 2, words[0].allSatisfy(\.isLetter) {
        bounds.append((String(words[0]), String(words[1])))
      } else if !bounds.isEmpty {
        // A comma within a pattern.
        bounds[bounds.count - 1].value += ", " + piece
      }
    }
    return bounds.compactMap { key, value in
      if key == "pattern" { return (key, .string(value)) }
      guard numbers.contains(key), let number = Double(value), number.isFinite else { return nil }
      return (key, Int(exactly: number).map(JSON.integer) ?? .number(number))
    }
  }
}
