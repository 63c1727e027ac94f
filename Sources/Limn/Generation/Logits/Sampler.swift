import Foundation

/// How the next token is chosen.
public struct Sampling: Sendable, Equatable {
  /// 0 always takes the most likely token; higher values take more chances.
  public var temperature: Double = 0
  /// Only the k most likely tokens; 0: all.
  public var topK: Int = 0
  /// Only the most likely tokens that together reach this probability; 1: all.
  public var topP: Double = 1
  /// Only tokens with at least this fraction of the most likely token's probability; 0: all.
  public var minP: Double = 0
  /// Divides positive and multiplies negative logits of tokens that have occurred; 1: off.
  public var repeatPenalty: Double = 1
  /// Subtracted from the logit of every token that has been generated; 0: off.
  public var presencePenalty: Double = 0
  /// Subtracted from a token's logit once for each time it has been generated; 0: off.
  public var frequencyPenalty: Double = 0
  /// Makes the random choices repeatable; nil: a new seed each time.
  public var seed: UInt64?

  /// The defaults: greedy.
  public init() {}
}

/// Chooses tokens for one sequence: processors change the logits, then one token is drawn with the sequence's own
/// random numbers.
package struct Sampler: Sendable {
  package let sampling: Sampling
  private var processors: [any LogitsProcessor]
  private let alternatives: Int?
  private var random: SplitMix64
  /// The tokens that may be drawn; the array keeps its memory from token to token.
  private var candidates: [Candidate] = []

  private struct Candidate {
    let id: Int32
    let logit: Float
    var weight = 0.0
  }

  /// - Parameters:
  ///   - prompt: the prompt's text tokens, for the repeat penalty.
  ///   - processors: applied after the penalties.
  ///   - alternatives: how many of the most likely tokens a choice lists with their log-probabilities; nil: no
  ///     log-probabilities.
  package init(
    _ sampling: Sampling, prompt: some Swift.Sequence<Int32> = [], processors: [any LogitsProcessor] = [],
    alternatives: Int? = nil
  ) {
    self.sampling = sampling
    self.alternatives = alternatives
    self.processors = [Penalties(sampling, prompt: prompt)].compactMap(\.self) + processors
    random = SplitMix64(state: sampling.seed ?? UInt64.random(in: .min ... .max))
  }

  /// The next token. Penalties and other processors come first, then top-k, temperature, top-p and min-p, each applied
  /// to what the one before it left. The logits are overwritten.
  package mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Choice {
    let own = alternatives.map { LogProbabilities(logits, listing: $0) }
    for index in processors.indices { processors[index].process(logits) }
    let id = sampling.temperature <= 0 ? Self.argmax(logits) : draw(logits)
    for index in processors.indices { processors[index].accepted(id) }
    var choice = Choice(id: id)
    if let own {
      choice.logprob = own[id]
      choice.alternatives = own.top
    }
    return choice
  }

  /// The first of the largest logits.
  package static func argmax(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
    var best = 0
    for index in 1..<logits.count where logits[index] > logits[best] { best = index }
    return Int32(best)
  }

  // MARK: Drawing

  /// A token's probability, before division by the sum over all tokens.
  private func weight(_ logit: Float, top: Float) -> Double {
    exp((Double(logit) - Double(top)) / sampling.temperature)
  }

  private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
    let best = Self.argmax(logits)
    let top = logits[Int(best)]
    // Only tokens that can survive the cuts are listed and sorted, usually a few dozen.
    var total: Double?
    if sampling.topK > 0, sampling.topK < logits.count {
      listLargest(sampling.topK, logits)
    } else {
      var least = sampling.minP
      if sampling.topP < 1 {
        let sum = logits.reduce(0) { $0 + weight($1, top: top) }
        // All tokens with less weight than this, taken together, fit into the share that top-p leaves out.
        least = max(least, (1 - sampling.topP) * sum / Double(logits.count))
        total = sum
      }
      guard least > 0 else { return drawFromAll(logits, best: best) }
      // Slightly less, so that rounding never drops a token that the cuts below would keep.
      list(logits, from: Double(top) + log(min(least, 1) * 0.999) * sampling.temperature)
    }
    // NaN logits, of a broken model, leave the list empty.
    guard !candidates.isEmpty else { return best }
    candidates.sort { $0.logit > $1.logit || ($0.logit == $1.logit && $0.id < $1.id) }
    for index in candidates.indices { candidates[index].weight = weight(candidates[index].logit, top: top) }
    if sampling.topP < 1 { keep(nucleus(of: total ?? candidates.reduce(0) { $0 + $1.weight })) }
    if sampling.minP > 0 { keep(candidates.count { $0.weight >= sampling.minP * candidates[0].weight }) }

    var remaining = random.unit() * candidates.reduce(0) { $0 + $1.weight }
    for candidate in candidates {
      remaining -= candidate.weight
      if remaining < 0 { return candidate.id }
    }
    return candidates[candidates.count - 1].id
  }

  /// In vocabulary order: if nothing is cut, nothing needs to be sorted.
  private mutating func drawFromAll(_ logits: UnsafeMutableBufferPointer<Float>, best: Int32) -> Int32 {
    let top = logits[Int(best)]
    var sum = 0.0
    for index in logits.indices {
      logits[index] = Float(weight(logits[index], top: top))
      sum += Double(logits[index])
    }
    var remaining = random.unit() * sum
    for index in logits.indices {
      remaining -= Double(logits[index])
      if remaining < 0 { return Int32(index) }
    }
    return best
  }

  private mutating func list(_ logits: UnsafeMutableBufferPointer<Float>, from least: Double) {
    candidates.removeAll(keepingCapacity: true)
    for index in logits.indices where Double(logits[index]) >= least {
      candidates.append(Candidate(id: Int32(index), logit: logits[index]))
    }
  }

  /// Lists the largest logits, the first among equals: a heap with the least of them at its root.
  private mutating func listLargest(_ count: Int, _ logits: UnsafeMutableBufferPointer<Float>) {
    candidates.removeAll(keepingCapacity: true)
    for index in 0..<count { candidates.append(Candidate(id: Int32(index), logit: logits[index])) }
    for root in (0..<count / 2).reversed() { siftDown(from: root) }
    for index in count..<logits.count where logits[index] > candidates[0].logit {
      candidates[0] = Candidate(id: Int32(index), logit: logits[index])
      siftDown(from: 0)
    }
  }

  private mutating func siftDown(from root: Int) {
    func isLess(_ a: Candidate, _ b: Candidate) -> Bool {
      a.logit < b.logit || (a.logit == b.logit && a.id > b.id)
    }
    var parent = root
    while true {
      var least = parent
      for child in 2 * parent + 1...2 * parent + 2
      where child < candidates.count && isLess(candidates[child], candidates[least]) {
        least = child
      }
      if least == parent { return }
      candidates.swapAt(parent, least)
      parent = least
    }
  }

  /// How many of the most likely tokens are needed to reach top-p; at least one.
  private func nucleus(of total: Double) -> Int {
    var sum = 0.0
    for (index, candidate) in candidates.enumerated() {
      sum += candidate.weight
      if sum >= sampling.topP * total { return index + 1 }
    }
    return candidates.count
  }

  private mutating func keep(_ count: Int) {
    candidates.removeLast(candidates.count - max(1, count))
  }
}

/// The log-probabilities that the logits stand for, computed before anything changes the logits.
private struct LogProbabilities {
  private let logits: [Float]
  private let logSum: Float
  let top: [Choice.Alternative]

  init(_ logits: UnsafeMutableBufferPointer<Float>, listing count: Int) {
    let largest = logits.max() ?? 0
    let sum = logits.reduce(0.0) { $0 + exp(Double($1 - largest)) }
    let logSum = largest + Float(log(sum))
    self.logits = Array(logits)
    self.logSum = logSum
    let likeliest = count == 0 ? [] : logits.indices.max(count: count) { logits[$0] < logits[$1] }
    top = likeliest.map { Choice.Alternative(id: Int32($0), logprob: logits[$0] - logSum) }
  }

  subscript(id: Int32) -> Float { logits[Int(id)] - logSum }
}

extension Swift.Sequence {
  /// The largest elements in descending order; among equals, the first ones.
  fileprivate func max(count: Int, by isLess: (Element, Element) -> Bool) -> [Element] {
    var result: [Element] = []
    for element in self {
      guard result.count < count || isLess(result[result.count - 1], element) else { continue }
      let place = result.firstIndex { isLess($0, element) } ?? result.count
      result.insert(element, at: place)
      if result.count > count { result.removeLast() }
    }
    return result
  }
}

/// The generator of Steele, Lea and Flood: tiny, fast, and the same on every machine.
/// https://doi.org/10.1145/2714064.2660195
struct SplitMix64: RandomNumberGenerator, Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number in 0..<1.
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
