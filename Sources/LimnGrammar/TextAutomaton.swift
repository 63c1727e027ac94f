import LimnCore

/// Which texts a schema allows for a string: a pattern and bounds on the length in characters, as a deterministic
/// automaton over Unicode scalars. From every state that it reports as alive, the text can be completed.
struct TextAutomaton: Sendable {
  struct State: Hashable, Sendable {
    var node: Int32
    /// Characters so far; stays at `least` from there on if there is no upper bound.
    var count: Int32
  }

  /// Ranges of scalars that no state tells apart, sorted, and their class.
  private var ranges: [(range: ClosedRange<UInt32>, symbol: Int)] = []
  private var symbols = 0
  /// [node · symbols + symbol]; −1: no text goes on like that.
  private var next: [Int32] = []
  private var accepting: [Bool] = []
  private let least: Int
  private var most: Int?
  /// [length · nodes + node]: how many of the lengths below this one lead from the node to an accepted end. Nil without
  /// bounds: every node leads there.
  private var reachable: [Int32]?

  let start = State(node: 0, count: 0)

  private static let nodeLimit = 5_000
  private static let workLimit = 4_000_000

  /// Any text of this many characters.
  init(least: Int = 0, most: Int? = nil) {
    (self.least, self.most) = (least, most)
    ranges = ScalarSet.all.ranges.map { ($0, 0) }
    (symbols, next, accepting) = (1, [0], [true])
  }

  /// - Throws: bad data for a pattern that is not supported or too large. One that no text fits gives an automaton
  ///   whose start is not alive.
  init(pattern: String, least: Int, most: Int?) throws(LimnError) {
    (self.least, self.most) = (least, most)
    let machine = try NondeterministicMachine(PatternSyntax.parse(pattern), pattern)
    split(machine.sets)
    try determinise(machine, pattern)
    if least > 0 || most != nil { try countLengths(pattern) }
  }

  // MARK: Use

  var isSatisfiable: Bool { isAlive(start) }

  /// Whether the text may end here.
  func isAccepting(_ state: State) -> Bool { accepting[Int(state.node)] && Int(state.count) >= least }

  /// The state after a scalar; nil: no allowed text goes on like that.
  func state(after scalar: UInt32, from state: State) -> State? {
    guard let symbol = symbol(of: scalar) else { return nil }
    return self.state(afterSymbol: symbol, from: state)
  }

  /// Whether some scalar of a range may come next.
  func allows(anyOf range: ClosedRange<UInt32>, from state: State) -> Bool {
    var index = firstRange(endingAtOrAfter: range.lowerBound)
    while index < ranges.count, ranges[index].range.lowerBound <= range.upperBound {
      if self.state(afterSymbol: ranges[index].symbol, from: state) != nil { return true }
      index += 1
    }
    return false
  }

  /// The state that all scalars of a range lead to; nil if they are told apart, or none may come next.
  func state(afterAllOf range: ClosedRange<UInt32>, from state: State) -> State? {
    let index = firstRange(endingAtOrAfter: range.lowerBound)
    guard index < ranges.count, ranges[index].range.lowerBound <= range.lowerBound,
      ranges[index].range.upperBound >= range.upperBound
    else { return nil }
    return self.state(afterSymbol: ranges[index].symbol, from: state)
  }

  private func state(afterSymbol symbol: Int, from state: State) -> State? {
    let node = next[Int(state.node) * symbols + symbol]
    guard node >= 0, most.map({ Int(state.count) < $0 }) ?? true else { return nil }
    let count = most == nil ? min(Int(state.count) + 1, least) : Int(state.count) + 1
    let after = State(node: node, count: Int32(count))
    return isAlive(after) ? after : nil
  }

  private func isAlive(_ state: State) -> Bool {
    guard !next.isEmpty, state.node >= 0 else { return false }
    guard let reachable else { return most.map { least <= $0 && Int(state.count) <= $0 } ?? true }
    let nodes = accepting.count
    let low = max(0, least - Int(state.count)), high = most.map { $0 - Int(state.count) } ?? low + nodes
    guard low <= high else { return false }
    return reachable[(high + 1) * nodes + Int(state.node)] > reachable[low * nodes + Int(state.node)]
  }

  private func firstRange(endingAtOrAfter scalar: UInt32) -> Int {
    var low = 0, high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].range.upperBound < scalar { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private func symbol(of scalar: UInt32) -> Int? {
    let index = firstRange(endingAtOrAfter: scalar)
    guard index < ranges.count, ranges[index].range.contains(scalar) else { return nil }
    return ranges[index].symbol
  }

  // MARK: Making

  /// Finds the classes of scalars that lie in the same sets.
  private mutating func split(_ sets: [ScalarSet]) {
    let bounds = Set(sets.flatMap { $0.ranges.flatMap { [$0.lowerBound, $0.upperBound + 1] } }).sorted()
    var known: [[Bool]: Int] = [:]
    for (low, high) in zip(bounds, bounds.dropFirst()) {
      let inside = sets.map { set in set.ranges.contains { $0.contains(low) } }
      guard inside.contains(true) else { continue }
      let symbol = known[inside] ?? known.count
      known[inside] = symbol
      ranges.append((low...high - 1, symbol))
    }
    symbols = known.count
  }

  /// Makes one node of each set of the machine's nodes that a text can lead to, and drops those that lead nowhere.
  private mutating func determinise(_ machine: NondeterministicMachine, _ pattern: String) throws(LimnError) {
    let samples = (0..<symbols).map { symbol in ranges.first { $0.symbol == symbol }!.range.lowerBound }
    var places: [[Int32]: Int32] = [:]
    var sets = [machine.closure([0])]
    places[sets[0]] = 0
    var at = 0
    while at < sets.count {
      for sample in samples {
        let target = machine.closure(machine.step(sets[at], sample))
        guard !target.isEmpty else {
          next.append(-1)
          continue
        }
        if places[target] == nil {
          places[target] = Int32(sets.count)
          sets.append(target)
          guard sets.count <= Self.nodeLimit else {
            throw .badData("the pattern \(pattern) needs too many states", remedy: "use smaller repetitions")
          }
        }
        next.append(places[target]!)
      }
      at += 1
    }
    accepting = sets.map { $0.contains(machine.end) }
    dropDeadEnds()
  }

  private mutating func dropDeadEnds() {
    var alive = accepting, changes = true
    while changes {
      changes = false
      for node in alive.indices where !alive[node] {
        let leads = (0..<symbols).contains { next[node * symbols + $0] >= 0 && alive[Int(next[node * symbols + $0])] }
        if leads { (alive[node], changes) = (true, true) }
      }
    }
    for index in next.indices where next[index] >= 0 && !alive[Int(next[index])] { next[index] = -1 }
    if !alive[0] { next = [] }
  }

  private mutating func countLengths(_ pattern: String) throws(LimnError) {
    let nodes = accepting.count
    let limit = Self.workLimit / max(1, nodes * symbols)
    // A tighter upper bound still fits.
    if let bound = most { most = min(bound, limit) }
    let longest = most ?? least + nodes
    guard longest <= limit, least <= limit else {
      throw .badData(
        "the pattern \(pattern) with a length of at least \(least) needs too many states",
        remedy: "use smaller bounds")
    }
    var table = [Int32](repeating: 0, count: (longest + 2) * nodes)
    var now = accepting
    for length in 0...longest {
      for node in 0..<nodes { table[(length + 1) * nodes + node] = table[length * nodes + node] + (now[node] ? 1 : 0) }
      now = (0..<nodes).map { node in
        !next.isEmpty
          && (0..<symbols).contains { next[node * symbols + $0] >= 0 && now[Int(next[node * symbols + $0])] }
      }
    }
    reachable = table
  }
}

/// Thompson's construction: nodes with steps on sets of scalars, and free steps.
private struct NondeterministicMachine {
  private var free: [[Int32]] = [[]]
  private var steps: [[(set: Int, to: Int32)]] = [[]]
  private(set) var sets: [ScalarSet] = []
  private var setPlaces: [ScalarSet: Int] = [:]
  private(set) var end: Int32 = 0
  private let pattern: String

  private static let nodeLimit = 60_000

  init(_ node: PatternSyntax.Node, _ pattern: String) throws(LimnError) {
    self.pattern = pattern
    end = try add(node, from: 0)
  }

  private mutating func newNode() throws(LimnError) -> Int32 {
    guard free.count < Self.nodeLimit else {
      throw .badData("the pattern \(pattern) is too large", remedy: "use smaller repetitions")
    }
    free.append([])
    steps.append([])
    return Int32(free.count - 1)
  }

  /// Adds a node's texts behind `start`; returns where they end.
  private mutating func add(_ node: PatternSyntax.Node, from start: Int32) throws(LimnError) -> Int32 {
    switch node {
    case .set(let set):
      let place = setPlaces[set] ?? sets.count
      if place == sets.count {
        sets.append(set)
        setPlaces[set] = place
      }
      let end = try newNode()
      steps[Int(start)].append((place, end))
      return end
    case .sequence(let nodes):
      var at = start
      for node in nodes { at = try add(node, from: at) }
      return at
    case .choice(let nodes):
      let end = try newNode()
      for node in nodes {
        let begin = try newNode()
        free[Int(start)].append(begin)
        free[Int(try add(node, from: begin))].append(end)
      }
      return end
    case .repeated(let node, let least, let most):
      var at = start
      for _ in 0..<least { at = try add(node, from: at) }
      guard let most else {
        let loop = try newNode()
        free[Int(at)].append(loop)
        free[Int(try add(node, from: loop))].append(loop)
        return loop
      }
      let end = try newNode()
      for _ in least..<most {
        free[Int(at)].append(end)
        // A node of its own, so that a loop within cannot come back to a place that may end.
        let begin = try newNode()
        free[Int(at)].append(begin)
        at = try add(node, from: begin)
      }
      free[Int(at)].append(end)
      return end
    }
  }

  /// All nodes that free steps lead to, sorted.
  func closure(_ nodes: [Int32]) -> [Int32] {
    var seen = Set(nodes), open = nodes
    while let node = open.popLast() {
      for target in free[Int(node)] where seen.insert(target).inserted { open.append(target) }
    }
    return seen.sorted()
  }

  func step(_ nodes: [Int32], _ scalar: UInt32) -> [Int32] {
    var result: Set<Int32> = []
    let inside = sets.map { set in set.ranges.contains { $0.contains(scalar) } }
    for node in nodes { for step in steps[Int(node)] where inside[step.set] { result.insert(step.to) } }
    return Array(result)
  }
}
