import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import LimnTesting
import Testing

/// Trained models have channels that are many times larger than the others, which tiny random models lack. This one is
/// given some: norms and rows that lead to a layer are multiplied, and the columns behind them divided, so that the
/// function stays that of ordinary random weights, while activations have outliers.
@Suite struct OutlierModelTests {
  private static let width = 512, headSize = 64, vocabulary = 336, layers = 2

  private static func isOutlier(_ channel: Int) -> Bool { channel % 256 == 7 }
  private static let factor: Float = 24

  private static func tensors() -> [(name: String, shape: [Int], values: [Float])] {
    var random = SeededRandom(5)
    func matrix(_ name: String, _ rows: Int, _ columns: Int, scaledRows: Bool = false, scaledColumns: Bool = true)
      -> (String, [Int], [Float])
    {
      let size = (3 / Float(columns)).squareRoot()
      let values = (0..<rows * columns).map { index in
        let value = Float.random(in: -size...size, using: &random)
        let up = scaledRows && isOutlier(index / columns), down = scaledColumns && isOutlier(index % columns)
        return value * (up ? factor : 1) / (down ? factor : 1)
      }
      return (name + ".weight", [rows, columns], values)
    }
    let norm = (0..<width).map { isOutlier($0) ? factor : 1 }
    var all = [matrix("token_embd", vocabulary, width, scaledColumns: false)]
    for layer in 0..<layers {
      let name = "blk.\(layer)."
      all += [
        (name + "attn_norm.weight", [width], norm), (name + "ffn_norm.weight", [width], norm),
        matrix(name + "attn_q", width / 2, width), matrix(name + "attn_k", headSize, width),
        matrix(name + "attn_v", headSize, width),
        matrix(name + "attn_output", width, width / 2, scaledColumns: false),
        matrix(name + "ffn_gate", width, width), matrix(name + "ffn_up", width, width, scaledRows: true),
        matrix(name + "ffn_down", width, width),
      ]
    }
    return all + [("output_norm.weight", [width], norm), matrix("output", vocabulary, width)]
  }

  /// Writes the model as F32, with a tokenizer of the fixtures.
  private static func write(_ folder: TemporaryFolder) throws -> String {
    let source = try GGUF(path: ModelCase.root + "/checkpoints/gguf/pair/tiny-mixed.gguf")
    let numbers = [
      "llama.embedding_length": width, "llama.feed_forward_length": width, "llama.block_count": layers,
      "llama.attention.key_length": headSize, "llama.attention.value_length": headSize,
      "llama.rope.dimension_count": headSize, "general.file_type": 0,
    ]
    let tensors = tensors()
    let layout = try GGUFWriter.layout(
      source.metadata.map { key, value in (key, numbers[key].map(GGUFMetadata.u32) ?? .copy(value)) },
      try tensors.map { try TensorHeader(name: $0.name, type: .f32, shape: $0.shape) })
    let data = zip(tensors, layout.padding).map { tensor, padding in
      tensor.values.withUnsafeBytes { Data($0) } + Data(count: padding)
    }
    return try folder.write("f32.gguf", Data(layout.header) + data.joined())
  }

  @Test(
    "fast stays close to exact where activations have outliers",
    arguments: [
      GGUFMix.q4_0, .q8_0, .q4_K_M, .q5_K_M, .q6_K, .f16,
    ])
  func divergence(_ mix: GGUFMix) async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("model.gguf")
    let conversion = try Conversion.gguf(
      ModelLocation(try Self.write(folder)), format: mix, vision: .f16, output: path)
    _ = try conversion.run(try WeightEncoder(threads: 1), replaces: false) { _, _ in }
    func logits(_ precision: Precision) async throws -> [[Float]] {
      var options = LoadOptions()
      options.precision = precision
      return try await VisionLanguageModel.load(path, options: options)
        .logits(ids: (0..<64).map { ($0 * 89 + 7) % Self.vocabulary }, images: [])
    }
    let (exact, fast) = (try await logits(.exact), try await logits(.fast))
    let mean = zip(exact, fast).map(divergenceInNats).reduce(0, +) / Double(exact.count)
    #expect(mean <= 4e-3)
  }
}
