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
    var productive = [Bool](repeating: false, count: terms.count), changes = true
    while changes {
      changes = false
      for (index, term) in terms.enumerated() where !productive[index] {
        let now =
          switch term {
          case .bytes: true
          case .string(let automaton): automaton.isSatisfiable
          case .number(let bounds): bounds.isSatisfiable
          case .sequence(let parts): parts.allSatisfy { productive[$0] }
          case .choice(let parts): parts.contains { productive[$0] }
          case .repeated(let item, _, let least, let most):
            least <= most ?? .max && (least == 0 || productive[item])
          }
        if now { (productive[index], changes) = (true, true) }
      }
    }
    for (index, term) in terms.enumerated() {
      switch term {
      case .choice(let parts): terms[index] = .choice(parts.filter { productive[$0] })
      case .repeated(let item, let separator, 0, _) where !productive[item]:
        terms[index] = .repeated(item, separator: separator, least: 0, most: 0)
      default: break
      }
    }
    return productive[root]
  }
}
