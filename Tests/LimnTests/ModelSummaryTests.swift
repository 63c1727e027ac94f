import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import Testing

@Suite("A model in numbers") struct ModelSummaryTests {
  private let checkpoints = ModelCase.root + "/checkpoints/"

  private func numbers(of name: String) throws -> ModelSummary {
    ModelSummary(try ModelParts(found: ModelLocation(checkpoints + name)))
  }

  /// The headers of a model's files, fetched piece by piece as a reader of ranges does; and how many bytes it took.
  private func headers(_ files: [String]) throws -> (checkpoint: Checkpoint, fetched: Int, size: Int) {
    var headers = ModelHeaders("there")
    var (fetched, size) = (0, 0)
    for file in files {
      let bytes = try Data(contentsOf: URL(filePath: checkpoints + file))
      var count = 0
      while let needed = try headers.add(
        URL(filePath: file).lastPathComponent, beginning: bytes.prefix(count), size: bytes.count)
      {
        try #require(needed > count && needed <= bytes.count)
        count = needed
      }
      (fetched, size) = (fetched + count, size + bytes.count)
    }
    return (try headers.checkpoint(), fetched, size)
  }

  @Test("the numbers of a LLaVA-1.5 are those of its config and its files")
  func numbers() throws {
    let summary = try numbers(of: "llama-mha")
    func expect<Part: Decodable & Equatable>(_ part: Part?, _ json: String) throws {
      #expect(try part == JSONDecoder().decode(Part.self, from: Data(json.utf8)))
    }
    try expect(
      summary.language,
      """
      {"architecture": "llama", "layers": 2, "hidden": 24, "heads": 4, "kvHeads": 4, "headSize": 6, "ffn": 36,
      "vocabulary": 344}
      """)
    try expect(
      summary.vision,
      """
      {"family": "CLIP", "layers": 3, "usedLayers": 2, "hidden": 15, "heads": 5, "ffn": 28, "imageSize": 28,
      "patchSize": 7}
      """)
    try expect(summary.projector, #"{"kind": "mlp", "hasNorms": false, "featureLayers": [-2]}"#)
    try expect(
      summary.images,
      """
      {"isTiled": false, "tokensPerTile": 16, "maxTiles": 1, "maxTokens": 16, "grids": [],
      "token": {"id": 336, "text": "<image>"}}
      """)
    try expect(summary.template, #"{"origin": "chosen", "name": "phi-3"}"#)
    let context = try #require(summary.context)
    #expect(context.trained == 256 && context.used == 256)
    // 2 · 2 layers · 4 heads · 6 values; a block of q8_0 takes 34 bytes.
    #expect(context.keyValueBytesPerPosition == ["f32": 384, "f16": 192, "q8_0": 544])
    let header = try Safetensors(path: checkpoints + "llama-mha/model.safetensors")
    #expect(summary.parameters.total == header.tensors.reduce(0) { $0 + $1.tensor.count })
    #expect(summary.types.reduce(0) { $0 + $1.tensors } == header.tensors.count)
    #expect(summary.types.reduce(0) { $0 + $1.bytes } == header.tensors.reduce(0) { $0 + $1.tensor.range.count })
    #expect(summary.files.map(\.path) == [checkpoints + "llama-mha/model.safetensors"])
    #expect(summary.tokens == 341)
    #expect(summary.stopTokens.contains { $0.text == "<|end|>" })
  }

  @Test("images of LLaVA-NeXT take most tokens where their grid has most tiles")
  func tiles() throws {
    let images = try #require(try numbers(of: "next-llama").images)
    #expect(images.isTiled && images.tokensPerTile == 16 && images.grids.count == 5)
    // An overview, and 2 × 2 tiles whose map of 8 × 8 has a newline after each row; or 1 × 3 tiles in one row.
    #expect(images.maxTiles == 5 && images.maxTokens == 16 + 8 * 9)
  }

  @Test(
    "it is written as JSON and read again, the same",
    arguments: ["llama-mha", "next-llama", "bnb-int8", "gguf/pair/tiny-mixed.gguf"])
  func coding(name: String) throws {
    let summary = try numbers(of: name)
    let json = try JSONEncoder().encode(summary)
    #expect(try JSONDecoder().decode(ModelSummary.self, from: json) == summary)
  }

  static let models: [(String, [String])] = [
    ("llama-mha", ["llama-mha/config.json", "llama-mha/model.safetensors"]),
    ("siglip", ["siglip/config.json", "siglip/model.safetensors"]),
    ("bnb-int8", ["bnb-int8/config.json", "bnb-int8/model.safetensors"]),
    (
      "llava-phi-fused",
      [
        "llava-phi-fused/config.json", "llava-phi-fused/model-00001-of-00002.safetensors",
        "llava-phi-fused/model-00002-of-00002.safetensors",
      ]
    ),
    ("gguf/pair/tiny-mixed.gguf", ["gguf/pair/mmproj-tiny-f16.gguf", "gguf/pair/tiny-mixed.gguf"]),
    ("gguf/llama.gguf", ["gguf/llama.gguf"]),
  ]

  @Test("headers alone give the same numbers, and a model that is checked but not computed", arguments: models)
  func headersAlone(_ name: String, _ files: [String]) throws {
    let (checkpoint, fetched, size) = try headers(files)
    #expect(fetched < size)
    let (there, here) = (ModelSummary(checkpoint), try numbers(of: name))
    #expect(there.language == here.language && there.vision == here.vision && there.projector == here.projector)
    #expect(there.parameters == here.parameters && there.types == here.types && there.context == here.context)
    #expect(there.images?.maxTokens == here.images?.maxTokens && there.layout == here.layout)
    #expect(there.files.map(\.bytes).sorted() == here.files.map(\.bytes).sorted())
    let cpu = try CPU(threads: 1)
    _ = try Llava(checkpoint, context: 1, quantization: nil, cpu: cpu, checksOnly: true)
    let error = #expect(throws: LimnError.self) { try Llava(checkpoint, context: 1, quantization: nil, cpu: cpu) }
    #expect(error?.kind == .unavailable)
  }

  @Test("headers alone say what the opened model takes, byte for byte", arguments: models)
  func demand(_ name: String, _ files: [String]) async throws {
    let (checkpoint, _, _) = try headers(files)
    let demand = try ModelDemand(checkpoint, context: 200, storage: .f16)
    var options = LoadOptions()
    (options.threads, options.context, options.kvType) = (1, 200, .f16)
    let opened = try await VisionLanguageModel.load(checkpoints + name, options: options)
    #expect(demand.bytesPerStep == (try opened.bytesPerStep(after: 0)))
    #expect(demand.operationsPerToken == (try opened.operationsPerToken))
    let config = checkpoint.config.language
    #expect(demand.keysAndValues == 2 * config.layers * config.kvHeads * config.headSize * 2 * 200)
    // Weights that the model does not read count in the files alone; short ones are floats in memory.
    let inFiles = checkpoint.weights.values.reduce(0) { $0 + $1.byteCount }
    #expect(demand.weights > inFiles / 2 && demand.weights < inFiles * 3 / 2)
    #expect(demand.scratch > 0 && (demand.operationsPerTile > 0) == (checkpoint.config.vision != nil))
  }

  @Test("headers that say nothing, or of a model that does not fit its config, are refused")
  func refusals() throws {
    #expect(throws: LimnError.self) { try ModelHeaders("there").checkpoint() }
    #expect(throws: LimnError.self) { try headers(["llama-mha/config.json"]) }
    let error = #expect(throws: LimnError.self) {
      try headers(["gguf/phi3-eos.gguf", "gguf/towers/mmproj-recent.gguf"])
    }
    #expect(error?.kind == .badData && error?.expected?.contains("8 values") == true && error?.found == "24")
  }
}
