public import LimnCore

/// A prompt as a point among others.
public struct Embedding: Sendable, Equatable {
  /// Of length 1; as many numbers as the language model's hidden states have.
  public var vector: [Float]
  /// Positions that were read, those of images included.
  public var promptTokens: Int
}

extension VisionLanguageModel {
  /// The mean of the language model's last hidden states, after its final norm, scaled to length 1: texts and pictures
  /// that mean something alike lie near each other, though less reliably than with a model trained for it.
  /// - Parameter request: its prompt is read; of its options, `reuse`, `adapters` and `recognisesSpecialTokens` matter.
  public func embedding(of request: Request) async throws(LimnError) -> Embedding {
    let prompt = try self.prompt(request)
    try prompt.check(images: request.images.count)
    let inputs = PromptInputs(prompt, images: try await encode(request.images, reuse: request.options.reuse))
    guard inputs.count <= context else {
      throw .badData(
        code: .contextLengthExceeded, "the input does not fit the context", expected: "at most \(context) tokens",
        found: "\(inputs.count)", remedy: "cut it into shorter ones")
    }
    let vector = try await engine.pooled(inputs, adapters: try indices(of: request.options.adapters))
    return Embedding(vector: vector, promptTokens: inputs.count)
  }

  /// How many positions a request's prompt takes, images expanded, which are encoded for it.
  public func count(_ request: Request) async throws(LimnError) -> Int {
    let prompt = try self.prompt(request)
    try prompt.check(images: request.images.count)
    return PromptInputs(prompt, images: try await encode(request.images, reuse: true)).count
  }
}
