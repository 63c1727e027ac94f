import Foundation
import Limn
import LimnFiles
import LimnTensor
import LimnTesting
import Synchronization
import Testing

/// The tokens of several sequences generated together.
private func generate(_ prompts: [PromptInputs], _ engine: Engine, maxTokens: Int = 8) async throws
  -> [[Int32]]
{
  let requests = prompts.enumerated().map { SequenceRequest(prompt: $1, maxTokens: maxTokens + $0) }
  return try await engine.said(requests).map(\.tokens)
}

/// A model whose passes take few rows, so that prompts are split.
private func openInPieces(_ testCase: ModelCase, rows: Int = 64) async throws -> VisionLanguageModel {
  try await testCase.open { $0.scheduler.maxRows = rows }
}

@Suite struct BatchTests {
  @Test(
    "each of several sequences generated together gives exactly what it gives alone",
    arguments: [Precision.exact, .fast])
  func batchEqualsAlone(_ precision: Precision) async throws {
    for name in ["llama-gqa-odd", "gguf-pair"] {
      let testCase = try ModelCase(name)
      let model = try await testCase.open(precision)
      let image = try await model.encode(testCase.sources)
      let whole = try Prompt(
        ids: testCase.inputIDs, imageToken: model.checkpoint.config.imageTokenID,
        imageTokenCounts: image.map(\.rows), vocabulary: model.vocabularySize)
      let text = testCase.inputIDs.filter { $0 >= 0 && $0 != model.checkpoint.config.imageTokenID }.map(
        Int32.init)
      let prompts = [
        PromptInputs(tokens: Array(text.prefix(3))), PromptInputs(whole, images: image),
        PromptInputs(tokens: text), PromptInputs(tokens: Array(text.suffix(1))),
      ]
      var alone: [[Int32]] = []
      for (index, prompt) in prompts.enumerated() {
        alone.append(try await generate([prompt], model.engine, maxTokens: 8 + index)[0])
      }
      #expect(try await generate(prompts, model.engine) == alone)
    }
  }

  @Test("a prompt gives the same logits in several passes as in one")
  func longPrompt() async throws {
    let testCase = try ModelCase("llama-mha")
    let whole = try await testCase.open()
    let pieces = try await openInPieces(testCase)
    let prompt = PromptInputs(tokens: (0..<600).map { Int32(3 + ($0 * 31) % 200) })
    #expect(try await pieces.engine.logits(of: prompt) == whole.engine.logits(of: prompt))
    #expect(try await generate([prompt], pieces.engine) == generate([prompt], whole.engine))
    #expect(await whole.engine.statistics.passes == 1)
    #expect(await pieces.engine.statistics.passes == 10)
  }

  @Test("a long prompt full of images gives the same result wherever passes split it, alone and in a batch")
  func cutImages() async throws {
    let testCase = try ModelCase("llama-mha")
    let whole = try await testCase.open()
    let image = try await whole.encode(testCase.sources)[0]
    let count = 600 / image.rows
    let ids = (0..<count).flatMap { [Prompt.imagePlaceholder, 3 + $0] }
    let images = [ImageEmbedding](repeating: image, count: count)
    let prompt = try Prompt(
      ids: ids, imageToken: whole.checkpoint.config.imageTokenID, imageTokenCounts: images.map(\.rows),
      vocabulary: whole.vocabularySize)
    let long = PromptInputs(prompt, images: images)
    let prompts = [PromptInputs(tokens: [3, 4, 5]), long]
    let expected = [
      try await generate([prompts[0]], whole.engine)[0], try await generate([long], whole.engine, maxTokens: 9)[0],
    ]
    for rows in [16, 112, 1024] {
      let pieces = try await openInPieces(testCase, rows: rows)
      #expect(try await generate(prompts, pieces.engine) == expected, "\(rows)")
      #expect(await pieces.engine.statistics.passes >= (long.count + rows - 1) / rows)
    }
  }
}
