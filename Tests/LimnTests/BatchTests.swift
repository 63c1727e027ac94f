import Foundation
import Limn
import LimnFiles
import LimnTensor
import LimnTesting
import Synchronization
import Testing

/// The tokens of several sequences that are generated together.
private func generate(_ prompts: [PromptInputs], _ engine: Engine, maxTokens: Int = 8) async throws
  -> [[Int32]]
{
  let tokens = Mutex(prompts.map { _ in [Int32]() })
  let jobs = prompts.enumerated().map { index, prompt in
    GenerationJob(
      prompt: prompt, sampling: Sampling(), maxTokens: maxTokens + index
    ) { event in
      if case .token(let id) = event { tokens.withLock { $0[index].append(id) } }
      return true
    }
  }
  try await engine.generate(jobs)
  return tokens.withLock { $0 }
}

@Suite struct BatchTests {
  @Test(
    "sequences generated together give, each, exactly what they give alone",
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

  @Test("a prompt longer than one step gives the same logits at its end as token by token")
  func longPrompt() async throws {
    let testCase = try ModelCase("llama-mha")
    let model = try await testCase.open()
    // 600 positions do not fit into one step of 512.
    let ids = (0..<600).map { Int32(3 + ($0 * 31) % 200) }
    let engine = model.engine
    let whole = try await engine.logits(of: PromptInputs(tokens: ids))
    let shorter = try await engine.logits(of: PromptInputs(tokens: Array(ids.prefix(520))))
    #expect(whole.count == 600)
    #expect(whole[519] == shorter[519])
    #expect(whole[3] == shorter[3])
  }

  @Test("a long prompt full of pictures gives the same wherever steps cut it")
  func cutPictures() async throws {
    let testCase = try ModelCase("llama-mha")
    let model = try await testCase.open()
    let image = try await model.encode(testCase.sources)[0]
    let pictures = 600 / image.rows
    let ids = (0..<pictures).flatMap { [Prompt.imagePlaceholder, 3 + $0] }
    let images = [ImageEmbedding](repeating: image, count: pictures)
    let prompt = try Prompt(
      ids: ids, imageToken: model.checkpoint.config.imageTokenID, imageTokenCounts: images.map(\.rows),
      vocabulary: model.vocabularySize)
    let long = PromptInputs(prompt, images: images)
    #expect(long.count > 512)
    // Beside a short one the first cut is some places earlier, and the next one comes soon.
    let prompts = [PromptInputs(tokens: [3, 4, 5]), long]
    let together = try await generate(prompts, model.engine)
    #expect(together[1] == (try await generate([long], model.engine, maxTokens: 9))[0])
    #expect(together[0] == (try await generate([prompts[0]], model.engine))[0])
  }
}
