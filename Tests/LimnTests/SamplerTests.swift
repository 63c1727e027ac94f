import Foundation
import Limn
import Testing

/// Draws `count` tokens, each from the same logits, and returns how often each one came up.
private func draws(_ sampling: Sampling, _ probabilities: [Double], count: Int = 4000) -> [Double] {
  var sampler = Sampler(sampling)
  var counts = [Int](repeating: 0, count: probabilities.count)
  for _ in 0..<count {
    var logits = probabilities.map { Float(log($0)) }
    counts[Int(logits.withUnsafeMutableBufferPointer { sampler.next($0).id })] += 1
  }
  return counts.map { Double($0) / Double(count) }
}

private func sampling(_ change: (inout Sampling) -> Void) -> Sampling {
  var result = Sampling()
  result.temperature = 1
  result.seed = 7
  change(&result)
  return result
}

@Suite struct SamplerTests {
  let probabilities = [0.1, 0.4, 0.25, 0.15, 0.1]

  @Test("without temperature the most likely token is taken, the first among equals")
  func greedy() {
    var sampler = Sampler(Sampling())
    var logits: [Float] = [1, 3, 3, -2]
    #expect(logits.withUnsafeMutableBufferPointer { sampler.next($0).id } == 1)
  }

  @Test("at temperature 1 tokens come up as often as their probabilities say")
  func temperature() {
    let shares = draws(sampling { _ in }, probabilities)
    for (share, probability) in zip(shares, probabilities) { #expect(abs(share - probability) < 0.03) }
  }

  @Test("at temperature 0.5 probabilities are squared and made to sum to one")
  func colder() {
    let squares = probabilities.map { $0 * $0 }
    let sum = squares.reduce(0, +)
    let shares = draws(sampling { $0.temperature = 0.5 }, probabilities)
    for (share, square) in zip(shares, squares) { #expect(abs(share - square / sum) < 0.03) }
  }

  @Test("top-k keeps the k most likely tokens")
  func topK() {
    let shares = draws(sampling { $0.topK = 2 }, probabilities)
    #expect(shares[0] == 0 && shares[3] == 0 && shares[4] == 0)
    #expect(abs(shares[1] - 0.4 / 0.65) < 0.03)
  }

  @Test("top-p keeps the fewest tokens that reach the probability")
  func topP() {
    // 0.4 + 0.25 = 0.65 is less than 0.7, so the third, 0.15, is needed too.
    let shares = draws(sampling { $0.topP = 0.7 }, probabilities)
    #expect(shares[0] == 0 && shares[4] == 0)
    #expect(abs(shares[3] - 0.15 / 0.8) < 0.03)
  }

  @Test("min-p keeps the tokens with at least that fraction of the most likely one's probability")
  func minP() {
    let shares = draws(sampling { $0.minP = 0.5 }, probabilities)
    #expect(shares[0] == 0 && shares[3] == 0 && shares[4] == 0)
    #expect(shares[1] > 0 && shares[2] > 0)
  }

  /// 3000 tokens in a scrambled order, with ties.
  private let many: [Float] = (0..<3000).map { Float(($0 * 7919) % 3001 / 3) * 0.01 }

  @Test(
    "from a large vocabulary the tokens drawn are exactly those that sorting all of it would keep",
    arguments: [
      (40, 1.0, 0.0), (0, 0.05, 0.0), (0, 1.0, 0.9), (100, 0.5, 0.0), (0, 0.2, 0.8), (2999, 0.05, 0.0),
    ])
  func partialSelection(topK: Int, topP: Double, minP: Double) {
    let order = many.indices.sorted { many[$0] > many[$1] || (many[$0] == many[$1] && $0 < $1) }
    var left = topK > 0 ? Array(order.prefix(topK)) : order
    let weights = left.map { exp(Double(many[$0])) }
    let wanted = topP * weights.reduce(0, +)
    var sum = 0.0
    left = Array(
      left[
        ...(weights.firstIndex {
          sum += $0; return sum >= wanted
        } ?? left.count - 1)])
    left = left.filter { exp(Double(many[$0]) - Double(many[order[0]])) >= minP }
    let options = sampling { ($0.topK, $0.topP, $0.minP) = (topK, topP, minP) }
    var sampler = Sampler(options)
    var drawn: Set<Int32> = []
    for _ in 0..<4000 {
      var logits = many
      drawn.insert(logits.withUnsafeMutableBufferPointer { sampler.next($0).id })
    }
    #expect(drawn.isSubset(of: Set(left.map(Int32.init))))
    // A few hundred tokens of nearly equal weight are left, and most of them come up.
    #expect(Double(drawn.count) >= 0.9 * Double(left.count), "\(drawn.count) of \(left.count)")
  }

  @Test("NaN logits give some token, whatever the cuts")
  func notNumbers() {
    for change: (inout Sampling) -> Void in [{ _ in }, { $0.topP = 0.9 }, { $0.minP = 0.1 }, { $0.topK = 2 }] {
      for value in [Float.nan, -.infinity, .infinity] {
        var sampler = Sampler(sampling(change))
        var logits = [Float](repeating: value, count: 5)
        #expect((0..<5).contains(logits.withUnsafeMutableBufferPointer { sampler.next($0).id }))
      }
    }
  }

  @Test("the same seed gives the same tokens, and another seed gives others")
  func seeds() {
    func tokens(_ seed: UInt64) -> [Int32] {
      var sampler = Sampler(sampling { $0.seed = seed })
      return (0..<40).map { _ in
        var logits = probabilities.map { Float(log($0)) }
        return logits.withUnsafeMutableBufferPointer { sampler.next($0).id }
      }
    }
    #expect(tokens(1) == tokens(1))
    #expect(tokens(1) != tokens(2))
  }

  @Test(
    "the repeat penalty divides positive and multiplies negative logits of tokens in the prompt and the answer"
  )
  func repeatPenalty() {
    var options = Sampling()
    options.repeatPenalty = 2
    var sampler = Sampler(options, prompt: [0])
    // 4 / 2 = 2 is less than 3.
    var logits: [Float] = [4, 3, -1]
    #expect(logits.withUnsafeMutableBufferPointer { sampler.next($0).id } == 1)
    // Now 0 and 1 have occurred: −1 · 2 = −2 each, and 2 wins with −1.5.
    logits = [-1, -1, -1.5]
    #expect(logits.withUnsafeMutableBufferPointer { sampler.next($0).id } == 2)
  }

  @Test("the presence penalty counts once and the frequency penalty each time, for generated tokens only")
  func presenceAndFrequency() {
    var options = Sampling()
    options.presencePenalty = 0.5
    options.frequencyPenalty = 0.25
    var sampler = Sampler(options, prompt: [0, 0, 0])
    var taken: [Int32] = []
    for _ in 0..<4 {
      var logits: [Float] = [2, 1.1, 0]
      taken.append(logits.withUnsafeMutableBufferPointer { sampler.next($0).id })
    }
    // 2 → after one use 1.25 → after two 1.0, under 1.1 → then 1.1 becomes 0.35.
    #expect(taken == [0, 0, 1, 0])
  }
}

@Suite struct StopMatcherTests {
  @Test("text before a stop string is returned; the stop string and what follows are not")
  func stops() {
    var matcher = StopMatcher(["</s>"])
    #expect(matcher.append("A lake.</s> More") == "A lake.")
    #expect(matcher.isStopped)
    #expect(matcher.append("x") == "" && matcher.finish() == "")
  }

  @Test("a stop string that arrives in pieces is found, and text that may become one is held back")
  func pieces() {
    var matcher = StopMatcher(["###", "\nUSER"])
    #expect(matcher.append("a #") == "a ")
    #expect(matcher.append("#b\n") == "##b")
    #expect(matcher.append("US") == "")
    #expect(matcher.append("A") == "\nUSA")
    #expect(matcher.append("##") == "")
    #expect(matcher.append("#") == "")
    #expect(matcher.isStopped)
  }

  @Test("text held back is returned at the end")
  func finish() {
    var matcher = StopMatcher(["湖畔"])
    #expect(matcher.append("在湖") == "在")
    #expect(matcher.finish() == "湖")
  }

  @Test("of two stop strings, the one that begins first counts")
  func first() {
    var matcher = StopMatcher(["world", "lo w"])
    #expect(matcher.append("hello world") == "hel")
  }
}

@Suite struct LogitsTests {
  private func next(_ logits: [Float], _ sampler: inout Sampler) -> Choice {
    var logits = logits
    return logits.withUnsafeMutableBufferPointer { sampler.next($0) }
  }

  @Test("a choice carries the model's own log-probabilities, before processors and temperature")
  func logProbabilities() {
    var sampling = Sampling()
    sampling.repeatPenalty = 4
    var sampler = Sampler(sampling, prompt: [2], alternatives: 3)
    // log softmax of (0, 1, 2, -1), computed with numpy.
    let expected: [Float] = [-2.4401897, -1.4401897, -0.4401897, -3.4401897]
    let choice = next([0, 1, 2, -1], &sampler)
    #expect(choice.id == 1, "2 is penalised")
    #expect(abs(choice.logprob! - expected[1]) < 1e-6)
    #expect(choice.alternatives.map(\.id) == [2, 1, 0])
    for other in choice.alternatives { #expect(abs(other.logprob - expected[Int(other.id)]) < 1e-6) }
    var plain = Sampler(Sampling())
    #expect(next([0, 1], &plain) == Choice(id: 1))
  }

  @Test("a request's processors can forbid tokens, and see which ones were chosen")
  func processors() {
    /// Forbids the token chosen last.
    struct NoRepeat: LogitsProcessor {
      var last: Int32?
      func process(_ logits: UnsafeMutableBufferPointer<Float>) { if let last { logits[Int(last)] = -.infinity } }
      mutating func accepted(_ id: Int32) { last = id }
    }
    var sampler = Sampler(Sampling(), processors: [NoRepeat()])
    #expect((0..<4).map { _ in next([1, 3, 2], &sampler).id } == [1, 2, 1, 2])
  }
}
