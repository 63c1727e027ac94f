import LimnFiles
import LimnText
import Synchronization
package import LimnTensor

extension VisionLanguageModel {
  package var vocabularySize: Int { checkpoint.config.language.vocabulary }

  /// The logits of every position, pictures expanded: [positions][vocabulary].
  /// - Parameters:
  ///   - text: prompt text with `<image>` where pictures stand; or
  ///   - ids: as the model's tokenizer gives them.
  package func logits(
    text: String? = nil, ids: [Int]? = nil, images: [ImageEmbedding]
  ) async throws(LimnError) -> [[Float]] {
    let imageToken = checkpoint.config.imageTokenID
    let prompt =
      if let ids {
        try Prompt(
          ids: ids, imageToken: imageToken, imageTokenCounts: images.map(\.rows), vocabulary: vocabularySize)
      } else {
        try Prompt(text: text ?? "", tokenizer: tokenizer, imageToken: imageToken)
      }
    try prompt.check(images: images.count)
    try prompt.check(vocabulary: vocabularySize, in: checkpoint.reference)
    let inputs = PromptInputs(prompt, images: images)
    guard inputs.count <= context else {
      throw .badData(
        "the prompt does not fit the context", expected: "at most \(context) tokens", found: "\(inputs.count)"
      )
    }
    return try await engine.logits(of: inputs)
  }
}

extension VisionLanguageModel {
  package var hasVision: Bool { checkpoint.config.vision != nil }

  /// How fast a prompt of so many tokens is computed and so many tokens are generated, in tokens per second.
  /// - Returns: the prompt's length as measured, which the context may limit.
  package func measureText(
    promptTokens: Int, genTokens: Int
  ) async throws(LimnError) -> (prompt: Int, promptPerSecond: Double, predictedPerSecond: Double) {
    let genTokens = max(1, min(genTokens, context - 1))
    let promptTokens = max(1, min(promptTokens, context - genTokens))
    // Which tokens they are makes no difference to the time.
    let ids = (0..<promptTokens).map { Int32(($0 * 7 + 3) % vocabularySize) }
    let times = Mutex<[ContinuousClock.Instant]>([])
    let start = ContinuousClock.now
    let job = GenerationJob(
      prompt: PromptInputs(tokens: ids), sampling: Sampling(), maxTokens: genTokens,
      capacity: promptTokens + genTokens
    ) { event in
      if case .token = event { times.withLock { $0.append(.now) } }
      return true
    }
    try await engine.generate([job])
    let tokens = times.withLock { $0 }
    let prompt = (tokens[0] - start).milliseconds
    let predicted = (tokens[tokens.count - 1] - tokens[0]).milliseconds
    return (
      promptTokens, Double(promptTokens) / prompt * 1000,
      predicted > 0 ? Double(tokens.count - 1) / predicted * 1000 : 0
    )
  }
}
