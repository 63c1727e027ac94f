package import LimnCore
import Synchronization

/// One sequence to generate: tokens and embeddings in, tokens out.
package struct SequenceRequest: Sendable {
  package let prompt: PromptInputs
  package let sampling: Sampling
  /// At least 1.
  package let maxTokens: Int
  /// Tokens that end the sequence; the end token itself is reported, too.
  package var endIDs: Set<Int32> = []
  /// Whether caches of earlier sequences are used, and this sequence's cache is kept.
  package var reuse = false
  /// Whether tokens are drafted; this makes no difference to the answer.
  package var speculation = true
  /// Reports log-probabilities: of the chosen token, and of this many most likely ones; nil: none.
  package var alternatives: Int?
  /// Change the logits before a token is chosen, after the penalties, in this order.
  package var processors: [any LogitsProcessor] = []
  /// The adapters that it uses, by their index among those loaded with the model.
  package var adapters: [Int] = []
  /// Tokens to report in place of the chosen ones, as far as they reach: for measurements with meaningless weights.
  package var script: [Int32] = []

  package init(prompt: PromptInputs, sampling: Sampling = Sampling(), maxTokens: Int) {
    self.prompt = prompt
    self.sampling = sampling
    self.maxTokens = maxTokens
  }
}

/// The events of a sequence, in order; the last one is always `ended`.
package enum SequenceEvent: Sendable {
  /// This many positions of the prompt are in the cache.
  case prefill(done: Int, of: Int)
  /// The tokens that one step chose: one, and one more for each accepted draft token.
  case choices([Choice], at: ContinuousClock.Instant)
  /// How many tokens were drafted in one step, and how many of them were accepted.
  case drafted(Int, accepted: Int)
  case ended(SequenceEnding)
}

package enum SequenceEnding: Sendable, Equatable {
  /// One of `endIDs` was chosen.
  case stop
  /// `maxTokens` is reached.
  case length
  /// Its stop sign was raised, or nothing reads its events any more.
  case cancelled
  case failed(LimnError)
}

/// A running sequence, as its requester sees it. Dropping the events stops it.
package struct SequenceHandle: Sendable {
  package let events: AsyncStream<SequenceEvent>
  private let sign: StopSign

  init(_ events: AsyncStream<SequenceEvent>, _ sign: StopSign) {
    self.events = events
    self.sign = sign
  }

  /// Ends the sequence at the engine's next step, as its last event reports.
  package func stop() { sign.raise() }
}

/// Can be raised from any thread; the engine sees it before its next step.
final class StopSign: Sendable {
  private let state = Atomic<Bool>(false)

  var isRaised: Bool { state.load(ordering: .relaxed) }
  func raise() { state.store(true, ordering: .relaxed) }
}
