import LimnFiles
import LimnText
package import LimnCore

extension VisionLanguageModel {
  package var vocabularySize: Int { checkpoint.config.language.vocabulary }

  /// The logits at every position, images expanded: [positions][vocabulary].
  /// - Parameters:
  ///   - text: prompt text with `<image>` in place of each image; or
  ///   - ids: token ids from the model's tokenizer.
  package func logits(
    text: String? = nil, ids: [Int]? = nil, images: [ImageEmbedding]
  ) async throws(LimnError) -> [[Float]] {
    try await engine.logits(
      of: try inputs(text: text, ids: ids, images: images), adapters: Array(adapters.indices))
  }

  /// How much the positions of a prompt attend to its images, float32 [layers, heads, positions, image positions].
  /// - Parameters:
  ///   - layers, heads, positions: which ones to observe; nil: all.
  /// - Throws: what `logits` throws; wrong usage for ranges that the model or the prompt does not have.
  package func attention(
    text: String? = nil, ids: [Int]? = nil, images: [ImageEmbedding], layers: Range<Int>? = nil,
    heads: Range<Int>? = nil, positions: Range<Int>? = nil
  ) async throws(LimnError) -> (values: [Float], shape: [Int]) {
    let inputs = try inputs(text: text, ids: ids, images: images)
    let config = checkpoint.config.language
    for (name, range, count) in [
      ("layers", layers, config.layers), ("heads", heads, config.heads), ("positions", positions, inputs.count),
    ] {
      guard let range, range.upperBound > count || range.isEmpty else { continue }
      throw LimnError(
        .usage, "there are no such \(name)", expected: "some of 0–\(count - 1)",
        found: "\(range.lowerBound)–\(range.upperBound - 1)")
    }
    return try await engine.attention(
      of: inputs, adapters: Array(adapters.indices), layers: layers, heads: heads, positions: positions)
  }

  private func inputs(
    text: String?, ids: [Int]?, images: [ImageEmbedding]
  ) throws(LimnError) -> PromptInputs {
    let imageToken = checkpoint.config.imageTokenID
    let prompt =
      if let ids {
        try Prompt(
          ids: ids, imageToken: imageToken, imageTokenCounts: images.map(\.rows), vocabulary: vocabularySize)
      } else {
        Prompt(text: text ?? "", tokenizer: tokenizer, imageToken: imageToken)
      }
    try prompt.check(images: images.count)
    try prompt.check(vocabulary: vocabularySize, in: checkpoint.reference)
    let inputs = PromptInputs(prompt, images: images)
    guard inputs.count <= context else {
      throw .badData(
        code: .contextLengthExceeded, "the prompt does not fit the context", expected: "at most \(context) tokens",
        found: "\(inputs.count)")
    }
    return inputs
  }
}
