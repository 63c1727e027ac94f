import Synchronization

/// Follows a grammar byte by byte, and says which tokens may come next. Its states are numbers, found on the way and
/// kept with their masks, so that a state that was met before costs one look into a table.
package final class GrammarMatcher: Sendable {
  /// A place in the grammar.
  package struct State: Hashable, Sendable {
    fileprivate let index: Int32
  }

  private let tables: Mutex<Tables>
  private let tokens: TokenTrie

  package init(_ grammar: Grammar, tokens: TokenTrie = TokenTrie([])) {
    tables = Mutex(Tables(grammar))
    self.tokens = tokens
  }

  package let start = State(index: 0)

  /// The state after some bytes; nil: no allowed text goes on like that.
  package func state(after bytes: some Swift.Sequence<UInt8>, from state: State) -> State? {
    tables.withLock { tables in
      var index = state.index
      for byte in bytes {
        guard let next = tables.next(index, byte) else { return nil }
        index = next
      }
      return State(index: index)
    }
  }

  /// The state after a token.
  package func state(afterToken id: Int32, from state: State) -> State? {
    tokens.text(of: id).flatMap { self.state(after: $0, from: state) }
  }

  /// Whether the text may end here.
  package func isAccepting(_ state: State) -> Bool { tables.withLock { $0.accepting[Int(state.index)] } }

  /// Which tokens may come next.
  package func mask(_ state: State) -> TokenMask { tables.withLock { $0.mask(state.index, tokens) } }

  /// How many states have been found.
  package var stateCount: Int { tables.withLock { $0.accepting.count } }
}

/// A state is the set of all places where a text so far can be: a stack of frames each, from the innermost outwards.
private struct Tables {
  /// Where a term was left.
  private enum Frame: Hashable {
    /// Not begun.
    case term(Int)
    case bytes(Int, offset: Int)
    case string(Int, StringPlace)
    case number(Int, text: [UInt8])
    case sequence(Int, next: Int)
    case repeated(Int, count: Int)
  }

  private struct Node: Hashable {
    let frame: Frame
    /// −1: the outermost.
    let parent: Int32
  }

  private let grammar: Grammar
  private var nodes: [Node] = []
  private var depths: [Int32] = []
  private var nodePlaces: [Node: Int32] = [:]
  private var states: [[Int32]] = []
  private var statePlaces: [[Int32]: Int32] = [:]
  private(set) var accepting: [Bool] = []
  /// By state and byte; a state's row is made when it is left for the first time.
  private var transitions: [[Int32]] = []

  private var masks: [Int32: TokenMask] = [:]

  private static let maskLimit = 1000
  private static let unknown: Int32 = -2, dead: Int32 = -1
  /// The most frames in a stack. What recurs without end may go this much deeper than the schema needs: nested JSON takes
  /// about three frames a level.
  private let depthLimit: Int

  init(_ grammar: Grammar) {
    self.grammar = grammar
    depthLimit = 200 + (grammar.heights[grammar.root] ?? 0)
    var start: Set<Int32> = []
    expand(push(.term(grammar.root), on: -1), into: &start)
    _ = state(start)
  }

  mutating func next(_ index: Int32, _ byte: UInt8) -> Int32? {
    let index = Int(index)
    if transitions[index].isEmpty { transitions[index] = [Int32](repeating: Self.unknown, count: 256) }
    let known = transitions[index][Int(byte)]
    if known != Self.unknown { return known == Self.dead ? nil : known }
    var after: Set<Int32> = []
    for node in states[index] where node >= 0 { step(node, byte, into: &after) }
    let target = after.isEmpty ? Self.dead : state(after)
    transitions[index][Int(byte)] = target
    return target == Self.dead ? nil : target
  }

  mutating func mask(_ index: Int32, _ tokens: TokenTrie) -> TokenMask {
    if let known = masks[index] { return known }
    var mask = TokenMask(count: tokens.vocabulary)
    tokens.visit(from: index) {
      next($0, $1)
    } found: {
      mask.insert($0)
    }
    if masks.count >= Self.maskLimit { masks.removeAll() }
    masks[index] = mask
    return mask
  }

  private mutating func state(_ places: Set<Int32>) -> Int32 {
    let key = places.sorted()
    if let known = statePlaces[key] { return known }
    let index = Int32(states.count)
    statePlaces[key] = index
    states.append(key)
    accepting.append(places.contains(-1))
    transitions.append([])
    return index
  }

  private mutating func push(_ frame: Frame, on parent: Int32) -> Int32 {
    let node = Node(frame: frame, parent: parent)
    if let known = nodePlaces[node] { return known }
    let index = Int32(nodes.count)
    nodePlaces[node] = index
    nodes.append(node)
    depths.append(parent < 0 ? 1 : depths[Int(parent)] + 1)
    return index
  }

  /// Goes from a place to all places where a byte is read, or the text ends (−1).
  private mutating func expand(_ first: Int32, into result: inout Set<Int32>) {
    var open = [first], seen: Set<Int32> = [first]
    func visit(_ node: Int32) { if seen.insert(node).inserted { open.append(node) } }
    while let index = open.popLast() {
      guard index >= 0 else {
        result.insert(index)
        continue
      }
      let node = nodes[Int(index)]
      let below = Int(depths[Int(index)]) - 1
      switch node.frame {
      case .term(let term):
        // Nothing is begun that could not be completed within the limit.
        guard let height = grammar.heights[term], below + height <= depthLimit else { continue }
        switch grammar.terms[term] {
        case .bytes(let bytes): visit(bytes.isEmpty ? node.parent : push(.bytes(term, offset: 0), on: node.parent))
        case .string(let automaton):
          visit(push(.string(term, StringPlace(automaton.start)), on: node.parent))
        case .number: visit(push(.number(term, text: []), on: node.parent))
        case .sequence: visit(push(.sequence(term, next: 0), on: node.parent))
        case .choice(let terms): for choice in terms { visit(push(.term(choice), on: node.parent)) }
        case .repeated: visit(push(.repeated(term, count: 0), on: node.parent))
        }
      case .sequence(let term, let next):
        guard case .sequence(let parts) = grammar.terms[term] else { break }
        guard next < parts.count else {
          visit(node.parent)
          break
        }
        // The last part needs no way back here.
        let parent = next + 1 < parts.count ? push(.sequence(term, next: next + 1), on: node.parent) : node.parent
        visit(push(.term(parts[next]), on: parent))
      case .repeated(let term, let count):
        guard case .repeated(let item, let separator, let least, let most) = grammar.terms[term] else { break }
        if count >= least { visit(node.parent) }
        if count < most ?? .max, let height = grammar.heightOfItem(item, separator), below + height <= depthLimit {
          // Without an upper bound, counts beyond the lower one are alike.
          let after = push(
            .repeated(term, count: most == nil ? min(count + 1, max(1, least)) : count + 1), on: node.parent)
          let begin = push(.term(item), on: after)
          visit(count == 0 ? begin : push(.term(separator), on: begin))
        }
      case .number(let term, let text):
        result.insert(index)
        if case .number(let bounds) = grammar.terms[term], bounds.isComplete(text) { visit(node.parent) }
      case .bytes, .string: result.insert(index)
      }
    }
  }

  /// Reads a byte at one place.
  private mutating func step(_ index: Int32, _ byte: UInt8, into result: inout Set<Int32>) {
    let node = nodes[Int(index)]
    switch node.frame {
    case .bytes(let term, let offset):
      guard case .bytes(let bytes) = grammar.terms[term], bytes[offset] == byte else { return }
      let isLast = offset + 1 == bytes.count
      expand(isLast ? node.parent : push(.bytes(term, offset: offset + 1), on: node.parent), into: &result)
    case .string(let term, let place):
      guard case .string(let automaton) = grammar.terms[term] else { return }
      switch place.after(byte, automaton) {
      case .inside(let next): result.insert(push(.string(term, next), on: node.parent))
      case .closed: expand(node.parent, into: &result)
      case nil: return
      }
    case .number(let term, var text):
      text.append(byte)
      guard case .number(let bounds) = grammar.terms[term], bounds.allowsBeginning(text) else { return }
      expand(push(.number(term, text: bounds.representative(of: text)), on: node.parent), into: &result)
    case .term, .sequence, .repeated: preconditionFailure("a place where nothing is read")
    }
  }
}
