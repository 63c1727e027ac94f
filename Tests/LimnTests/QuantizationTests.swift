import Limn
import LimnCore
import LimnTensor
import Testing

@Suite("Quantising while opening") struct QuantizationTests {
  private func logits(_ testCase: ModelCase, _ quantization: LoadQuantization?) async throws -> [[Float]] {
    var options = LoadOptions()
    options.precision = .exact
    options.quantization = quantization
    let model = try await VisionLanguageModel.load(testCase.model, options: options)
    return try await model.logits(ids: testCase.inputIDs, images: try await model.encode(testCase.sources))
  }

  @Test("modules are skipped by name, part of a name or its end, also under other layouts' names")
  func skipping() {
    let layer = "language_model.layers.1.mlp.down_proj.weight"
    #expect(LoadQuantization(.nf4).applies(to: layer))
    #expect(!LoadQuantization(.nf4).applies(to: "lm_head.weight"))
    for name in ["language_model", "model.language_model.layers.1", "layers.1", "mlp.down_proj", "down_proj"] {
      #expect(!LoadQuantization(.nf4, skip: ["other", name]).applies(to: layer), "\(name)")
    }
    for name in ["layers.11", "vision_tower", "up_proj", ""] {
      #expect(LoadQuantization(.nf4, skip: [name]).applies(to: layer), "\(name)")
    }
    #expect(!LoadQuantization(.nf4, skip: ["mm_projector"]).applies(to: "multi_modal_projector.linear_1.weight"))
    #expect(
      !LoadQuantization(.nf4, skip: ["model.vision_tower.vision_tower.vision_model"])
        .applies(to: "vision_tower.encoder.layers.0.mlp.fc1.weight"))
  }

  @Test("each format changes the logits, 8 bits less than 4; skipping all parts changes nothing")
  func formats() async throws {
    let testCase = try #require(ModelCase.all.first { $0.name == "llama-mha" })
    let plain = try await logits(testCase, nil)
    var errors: [LoadQuantization.Format: Double] = [:]
    for format in LoadQuantization.Format.allCases {
      errors[format] = largestError(try await logits(testCase, LoadQuantization(format)), plain)
      #expect(errors[format]! > 1e-4, "\(format)")
    }
    #expect(
      errors[.int8]! < errors[.nf4]! / 4 && errors[.int8]! < errors[.fp4]! / 4, "8 bits lose less than 4")
    let single = try await logits(testCase, LoadQuantization(.nf4))
    let double = try await logits(testCase, LoadQuantization(.nf4, isDouble: true))
    #expect(double != plain && double != single)
    let all = LoadQuantization(.nf4, skip: ["language_model", "vision_tower", "multi_modal_projector"])
    #expect(try await logits(testCase, all) == plain)
  }

  @Test("a model that is already quantised is refused", arguments: ["gguf-pair", "bnb-nf4", "bnb-int8"])
  func again(name: String) async throws {
    let testCase = try #require(ModelCase.all.first { $0.name == name })
    let error = await #expect(throws: LimnError.self) { try await logits(testCase, LoadQuantization(.nf4)) }
    #expect(error?.kind == .usage && error?.remedy?.description(for: .command).contains("--quantize") == true)
  }
}
