import LimnCore

/// Which texts an answer may be: JSON that fits a schema. A grammar says it for bytes; `GrammarMatcher` follows it.
package struct Grammar: Sendable {
  /// What a text is made of; terms refer to each other by index.
  enum Term: Sendable {
    case bytes([UInt8])
    /// A JSON string with its quotes, whose content an automaton allows.
    case string(TextAutomaton)
    case number(NumberBounds)
    case sequence([Int])
    case choice([Int])
    /// An item this many times, with a separator between.
    case repeated(Int, separator: Int, least: Int, most: Int?)
  }

  private(set) var terms: [Term] = []
  private(set) var root = 0
  /// For each term, how many frames the stack needs above the term's own place to complete its shallowest text, itself
  /// included; nil: no text fits. Complete after `finish`.
  private(set) var heights: [Int?] = []

  private static let termLimit = 200_000

  init() {}

  // MARK: Making

  mutating func add(_ term: Term) throws(LimnError) -> Int {
    guard terms.count < Self.termLimit else {
      throw .badData(
        "the schema is too large", expected: "at most \(Self.termLimit) parts", remedy: "use a smaller one")
    }
    terms.append(term)
    return terms.count - 1
  }

  /// A term that is defined later, so that terms can contain themselves.
  mutating func reserve() throws(LimnError) -> Int { try add(.choice([])) }
  mutating func define(_ index: Int, _ term: Term) { terms[index] = term }

  /// Drops what no text fits, so that every beginning that is allowed can be completed.
  /// - Returns: whether any text fits.
  mutating func finish(root: Int) -> Bool {
    self.root = root
    heights = [Int?](repeating: nil, count: terms.count)
    var changes = true
    while changes {
      changes = false
      for index in terms.indices {
        guard let height = height(of: terms[index]), height < heights[index] ?? .max else { continue }
        (heights[index], changes) = (height, true)
      }
    }
    for (index, term) in terms.enumerated() {
      switch term {
      case .choice(let parts): terms[index] = .choice(parts.filter { heights[$0] != nil })
      case .repeated(let item, let separator, 0, _) where heights[item] == nil:
        terms[index] = .repeated(item, separator: separator, least: 0, most: 0)
      default: break
      }
    }
    return heights[root] != nil
  }

  /// The height of a term by what is known of its parts so far.
  private func height(of term: Term) -> Int? {
    switch term {
    case .bytes: return 1
    case .string(let automaton): return automaton.isSatisfiable ? 1 : nil
    case .number(let bounds): return bounds.isSatisfiable ? 1 : nil
    case .sequence(let parts):
      var height = 0
      for part in parts {
        guard let part = heights[part] else { return nil }
        height = max(height, part)
      }
      return 1 + height
    case .choice(let parts): return parts.lazy.compactMap { heights[$0] }.min()
    case .repeated(let item, let separator, let least, let most):
      guard least <= most ?? .max else { return nil }
      return least == 0 ? 1 : heightOfItem(item, separator)
    }
  }

  /// The height of a repetition that has one more item: the item waits below its separator.
  func heightOfItem(_ item: Int, _ separator: Int) -> Int? {
    guard let item = heights[item], let separator = heights[separator] else { return nil }
    return 1 + max(item, separator + 1)
  }
}
