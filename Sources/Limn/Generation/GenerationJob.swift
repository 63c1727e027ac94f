/// One sequence to generate.
package struct GenerationJob: Sendable {
  package enum Event: Sendable {
    /// So many positions of the prompt are in the cache.
    case prompt(done: Int, of: Int)
    case token(Int32)
    /// So many tokens were guessed ahead in one step, and so many of them were right.
    case drafted(Int, right: Int)
  }

  package let prompt: PromptInputs
  package let sampling: Sampling
  package let maxTokens: Int
  /// Whether what earlier sequences left is used, and what this one leaves is kept.
  package var reuse = false
  /// Whether tokens are guessed ahead: it makes no difference to the answer.
  package var speculation = true
  /// Tokens to say in place of the chosen ones, as far as they reach: for measurements with weights that have no
  /// meaning.
  package var script: [Int32] = []
  /// Is told what happens; false ends the sequence.
  package let receive: @Sendable (Event) -> Bool

  package init(
    prompt: PromptInputs, sampling: Sampling, maxTokens: Int, receive: @escaping @Sendable (Event) -> Bool
  ) {
    self.prompt = prompt
    self.sampling = sampling
    self.maxTokens = maxTokens
    self.receive = receive
  }
}
