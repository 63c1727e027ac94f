import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnTensor
import LimnTesting
import Synchronization
import Testing

/// The tokens of sequences, and how their drafts fared.
private struct Said: Equatable {
  var tokens: [[Int32]]
  var drafted = 0
  var right = 0
}

private func generate(
  _ prompts: [PromptInputs], _ engine: Engine, _ sampling: Sampling = Sampling(), speculation: Bool,
  endID: Int32? = nil, maxTokens: Int = 60
) async throws -> Said {
  let requests = prompts.enumerated().map { index, prompt in
    var request = SequenceRequest(prompt: prompt, sampling: sampling, maxTokens: maxTokens - index)
    request.speculation = speculation
    request.endIDs = endID.map { [$0] } ?? []
    return request
  }
  let said = try await engine.said(requests)
  return Said(
    tokens: said.map(\.tokens), drafted: said.reduce(0) { $0 + $1.drafted }, right: said.reduce(0) { $0 + $1.accepted })
}

/// Texts that repeat themselves, so that there is something to look up.
private func prompts(_ testCase: ModelCase, _ model: VisionLanguageModel) async throws -> [PromptInputs] {
  let image = try await model.encode(testCase.sources)
  let whole = try Prompt(
    ids: testCase.inputIDs, imageToken: model.checkpoint.config.imageTokenID,
    imageTokenCounts: image.map(\.rows), vocabulary: model.vocabularySize)
  let text = testCase.inputIDs.filter { $0 >= 0 && $0 != model.checkpoint.config.imageTokenID }.map(
    Int32.init)
  return [
    PromptInputs(whole, images: image), PromptInputs(tokens: text + text + text),
    PromptInputs(tokens: Array(text.prefix(2))),
  ]
}

@Suite struct SpeculationTests {
  @Test(
    "an answer is the same with and without drafts, greedy or sampled, with and without penalties",
    arguments: ["llama-gqa-odd", "gguf-pair", "phi2", "mistral-window"], [Precision.exact, .fast])
  func sameTokens(_ name: String, _ precision: Precision) async throws {
    let testCase = try ModelCase(name)
    let model = try await testCase.open(precision)
    let prompts = try await prompts(testCase, model)
    var penalised = Sampling()
    penalised.repeatPenalty = 1.05
    penalised.frequencyPenalty = 0.01
    var drawn = Sampling()
    drawn.temperature = 0.2
    drawn.topP = 0.9
    drawn.seed = 11
    var right = 0
    for sampling in [Sampling(), penalised, drawn] {
      let plain = try await generate(prompts, model.engine, sampling, speculation: false)
      let drafted = try await generate(prompts, model.engine, sampling, speculation: true)
      #expect(plain.drafted == 0)
      #expect(drafted.tokens == plain.tokens)
      right += drafted.right
      for (index, prompt) in prompts.enumerated() {
        let alone = try await generate(
          [prompt], model.engine, sampling, speculation: true, maxTokens: 60 - index)
        #expect(alone.tokens == [plain.tokens[index]])
        right += alone.right
      }
    }
    #expect(right > 0, "without a right guess nothing was tested")
  }

  @Test("a sequence that ends in the middle of a right draft ends there, and the others continue")
  func stopping() async throws {
    let testCase = try ModelCase("llama-gqa-odd")
    let model = try await testCase.open()
    let prompts = try await prompts(testCase, model)
    let free = try await generate(prompts, model.engine, speculation: true)
    #expect(free.right > 0)
    for id in Set(free.tokens.joined()) {
      let plain = try await generate(prompts, model.engine, speculation: false, endID: id)
      let drafted = try await generate(prompts, model.engine, speculation: true, endID: id)
      #expect(drafted.tokens == plain.tokens)
    }
  }

  @Test("an answer that ends at a stop text or its maximum length ends at the same place with drafts")
  func stopTexts() async throws {
    let testCase = try ModelCase("llama-mha-text")
    let model = try await testCase.open(.fast)
    var options = GenerationOptions()
    options.maxTokens = 80
    func answer(_ speculation: Bool) async throws -> Answer {
      options.speculation = speculation
      return try await model.answer(
        Request(rawPrompt: testCase.prompt + testCase.prompt, options: options))
    }
    let whole = try await answer(false)
    for stop in [
      nil, String(whole.text.suffix(whole.text.count / 2).prefix(3)), String(whole.text.suffix(4)),
    ] {
      options.stops = stop.map { [$0] } ?? []
      for length in [80, 33, 2, 1] {
        options.maxTokens = length
        let (plain, drafted) = (try await answer(false), try await answer(true))
        #expect(drafted.text == plain.text)
        #expect(drafted.usage == plain.usage && drafted.finishReason == plain.finishReason)
      }
    }
  }

  @Test("the demo model says the same about images with and without drafts")
  func demo() async throws {
    let model = try await VisionLanguageModel.load(try DemoModel.path())
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Fixtures/Demo").path
    let pictures = try FileManager.default.contentsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix(".png") }.sorted().prefix(4)
    for picture in pictures {
      for question in [
        "Describe the picture.", "What is the weather? What is the weather? What is the weather?",
      ] {
        var options = GenerationOptions()
        let drafted = try await model.ask(question, images: [.path(folder + "/" + picture)], options: options)
        options.speculation = false
        let plain = try await model.ask(question, images: [.path(folder + "/" + picture)], options: options)
        #expect(drafted.text == plain.text && drafted.usage == plain.usage)
      }
    }
  }
}
