/// Changes logits before a token is chosen: a penalty, a bias, a constraint on what may come next.
///
/// Each sequence has a processor with its own state. Drafts need no special care: rows are judged in order, and what
/// follows a wrong draft never reaches a processor.
package protocol LogitsProcessor: Sendable {
  /// Changes the logits of the next token, [vocabulary]; −∞ forbids a token.
  mutating func process(_ logits: UnsafeMutableBufferPointer<Float>)

  /// Receives the token that was chosen.
  mutating func accepted(_ id: Int32)
}

/// A chosen token.
package struct Choice: Sendable, Equatable {
  package let id: Int32
  /// The natural logarithm of the probability that the model itself gave this token, before processors and temperature;
  /// nil unless requested.
  package var logprob: Float?
  /// The model's most likely tokens with their log-probabilities, the most likely first.
  package var alternatives: [Alternative] = []

  package struct Alternative: Sendable, Equatable {
    package let id: Int32
    package let logprob: Float
  }

  package init(id: Int32) { self.id = id }
}

/// The repeat, presence and frequency penalties.
struct Penalties: LogitsProcessor {
  private let sampling: Sampling
  /// Tokens of prompt and answer, for the repeat penalty.
  private var seen: Set<Int32>
  /// How often each token has been generated, for the presence and frequency penalties.
  private var counts: [Int32: Int] = [:]

  /// Nil if nothing is penalised.
  init?(_ sampling: Sampling, prompt: some Swift.Sequence<Int32>) {
    guard sampling.repeatPenalty != 1 || sampling.presencePenalty != 0 || sampling.frequencyPenalty != 0 else {
      return nil
    }
    self.sampling = sampling
    seen = sampling.repeatPenalty == 1 ? [] : Set(prompt)
  }

  private var penalisesCounts: Bool { sampling.presencePenalty != 0 || sampling.frequencyPenalty != 0 }

  func process(_ logits: UnsafeMutableBufferPointer<Float>) {
    let penalty = Float(sampling.repeatPenalty)
    for id in seen {
      let logit = logits[Int(id)]
      logits[Int(id)] = logit > 0 ? logit / penalty : logit * penalty
    }
    guard penalisesCounts else { return }
    for (id, count) in counts {
      logits[Int(id)] -= Float(sampling.presencePenalty + sampling.frequencyPenalty * Double(count))
    }
  }

  mutating func accepted(_ id: Int32) {
    if sampling.repeatPenalty != 1 { seen.insert(id) }
    if penalisesCounts { counts[id, default: 0] += 1 }
  }
}

/// What is added to the logits of single tokens.
struct LogitBias: LogitsProcessor {
  private let bias: [(id: Int, value: Float)]

  /// Nil if nothing is added.
  init?(_ options: GenerationOptions, endIDs: Set<Int32>) {
    var bias = options.logitBias
    if options.ignoresEnd { for id in endIDs { bias[Int(id)] = -.infinity } }
    guard !bias.isEmpty else { return nil }
    self.bias = bias.map { ($0, Float($1)) }
  }

  func process(_ logits: UnsafeMutableBufferPointer<Float>) {
    for (id, value) in bias where logits.indices.contains(id) { logits[id] += value }
  }

  mutating func accepted(_ id: Int32) {}
}
