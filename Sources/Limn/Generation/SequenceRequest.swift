package import LimnCore
import Synchronization

/// One sequence to generate: tokens and embeddings in, tokens out.
package struct SequenceRequest: Sendable {
  package let prompt: PromptInputs
  package let sampling: Sampling
  /// At least 1.
  package let maxTokens: Int
  /// Tokens that end the sequence; the one that does is given out, too.
  package var endIDs: Set<Int32> = []
  /// Whether what earlier sequences left is used, and what this one leaves is kept.
  package var reuse = false
  /// Whether tokens are drafted ahead: it makes no difference to the answer.
  package var speculation = true
  /// Give log-probabilities, and those of this many likeliest tokens beside the chosen one; nil: none.
  package var alternatives: Int?
  /// Change logits before a token is chosen, after the penalties, in this order.
  package var processors: [any LogitsProcessor] = []
  /// The adapters that it uses, by their place among those loaded with the model.
  package var adapters: [Int] = []
  /// Tokens to say in place of the chosen ones, as far as they reach: for measurements with weights that mean nothing.
  package var script: [Int32] = []

  package init(prompt: PromptInputs, sampling: Sampling = Sampling(), maxTokens: Int) {
    self.prompt = prompt
    self.sampling = sampling
    self.maxTokens = maxTokens
  }
}

/// What happens to a sequence, in order; `ended` comes last, always.
package enum SequenceEvent: Sendable {
  /// This many positions of the prompt are in the cache.
  case prefill(done: Int, of: Int)
  /// Tokens that one step chose: one, and as many more as drafts were right.
  case choices([Choice], at: ContinuousClock.Instant)
  /// This many tokens were drafted in one step, and this many of them were right.
  case drafted(Int, accepted: Int)
  case ended(SequenceEnding)
}

package enum SequenceEnding: Sendable, Equatable {
  /// One of `endIDs` was chosen.
  case stop
  /// `maxTokens` is reached.
  case length
  /// Its stop sign was raised, or nobody reads its events any more.
  case cancelled
  case failed(LimnError)
}

/// A sequence under way, for whoever asked for it. Dropping the events stops it.
package struct SequenceHandle: Sendable {
  package let events: AsyncStream<SequenceEvent>
  private let sign: StopSign

  init(_ events: AsyncStream<SequenceEvent>, _ sign: StopSign) {
    self.events = events
    self.sign = sign
  }

  /// Ends the sequence at the engine's next step; its last event says so.
  package func stop() { sign.raise() }
}

/// Raised from anywhere, seen by the engine before its next step.
final class StopSign: Sendable {
  private let state = Atomic<Bool>(false)

  var isRaised: Bool { state.load(ordering: .relaxed) }
  func raise() { state.store(true, ordering: .relaxed) }
}
