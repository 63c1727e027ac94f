import Foundation

/// How the next token is chosen.
public struct Sampling: Sendable, Equatable {
  /// 0 always takes the likeliest token; higher values take more chances.
  public var temperature: Double = 0
  /// Only the k likeliest tokens; 0: all.
  public var topK: Int = 0
  /// Only the likeliest tokens which together reach this probability; 1: all.
  public var topP: Double = 1
  /// Only tokens with at least this share of the likeliest one's probability; 0: all.
  public var minP: Double = 0
  /// Divides the positive and multiplies the negative logits of tokens seen before; 1: off.
  public var repeatPenalty: Double = 1
  /// Subtracted from the logit of each token generated before; 0: off.
  public var presencePenalty: Double = 0
  /// Subtracted once for each time that the token was generated; 0: off.
  public var frequencyPenalty: Double = 0
  /// Makes the random choices repeatable; nil: another one each time.
  public var seed: UInt64?

  public init() {}
}

/// Chooses tokens for one sequence, with the sequence's own random numbers and memory of what it said.
package struct Sampler: Sendable {
  package let sampling: Sampling
  private var random: SplitMix64
  /// Tokens of the prompt and the answer, for the repeat penalty.
  private var seen: Set<Int32>
  /// How often each token was generated, for the presence and frequency penalties.
  private var counts: [Int32: Int] = [:]
  private var candidates: [Candidate] = []

  private struct Candidate {
    var id: Int32
    var logit: Float
  }

  package init(_ sampling: Sampling, prompt: some Sequence<Int32> = []) {
    self.sampling = sampling
    random = SplitMix64(state: sampling.seed ?? UInt64.random(in: .min ... .max))
    seen = sampling.repeatPenalty == 1 ? [] : Set(prompt)
  }

  /// The next token. Penalties come first, then top-k, temperature, top-p and min-p, each on what is left.
  package mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
    penalise(logits)
    let token = sampling.temperature <= 0 ? Self.argmax(logits) : draw(logits)
    if sampling.repeatPenalty != 1 { seen.insert(token) }
    counts[token, default: 0] += 1
    return token
  }

  /// The first of the largest logits.
  package static func argmax(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
    var best = 0
    for index in 1..<logits.count where logits[index] > logits[best] { best = index }
    return Int32(best)
  }

  private func penalise(_ logits: UnsafeMutableBufferPointer<Float>) {
    let penalty = Float(sampling.repeatPenalty)
    for id in seen {
      let logit = logits[Int(id)]
      logits[Int(id)] = logit > 0 ? logit / penalty : logit * penalty
    }
    guard sampling.presencePenalty != 0 || sampling.frequencyPenalty != 0 else { return }
    for (id, count) in counts {
      logits[Int(id)] -= Float(sampling.presencePenalty + sampling.frequencyPenalty * Double(count))
    }
  }

  private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32 {
    candidates.removeAll(keepingCapacity: true)
    candidates.reserveCapacity(logits.count)
    for (id, logit) in logits.enumerated() { candidates.append(Candidate(id: Int32(id), logit: logit)) }
    candidates.sort { $0.logit > $1.logit || ($0.logit == $1.logit && $0.id < $1.id) }
    if sampling.topK > 0 { candidates.removeLast(max(0, candidates.count - sampling.topK)) }

    let top = Double(candidates[0].logit)
    var weights = candidates.map { exp((Double($0.logit) - top) / sampling.temperature) }
    if sampling.topP < 1 { keep(nucleus(weights), &weights) }
    if sampling.minP > 0 { keep(weights.count { $0 >= sampling.minP * weights[0] }, &weights) }

    var remaining = random.unit() * weights.reduce(0, +)
    for (index, weight) in weights.enumerated() {
      remaining -= weight
      if remaining < 0 { return candidates[index].id }
    }
    return candidates[weights.count - 1].id
  }

  /// How many of the likeliest tokens it takes to reach top-p; at least one.
  private func nucleus(_ weights: [Double]) -> Int {
    let wanted = sampling.topP * weights.reduce(0, +)
    var sum = 0.0
    for (index, weight) in weights.enumerated() {
      sum += weight
      if sum >= wanted { return index + 1 }
    }
    return weights.count
  }

  private mutating func keep(_ count: Int, _ weights: inout [Double]) {
    let count = max(1, count)
    weights.removeLast(weights.count - count)
    candidates.removeLast(candidates.count - count)
  }
}

/// Steele, Lea and Flood's generator: tiny, fast, and the same on every machine.
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
