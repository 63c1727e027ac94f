import LimnFiles
import LimnText
package import LimnCore

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
