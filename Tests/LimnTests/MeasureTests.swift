import Limn
import LimnTensor
import Testing

/// The work that `limn bench` compares measured speeds with.
@Suite struct MeasureTests {
  private func open(
    _ model: String, quantization: LoadQuantization? = nil
  ) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.quantization = quantization
    return try await VisionLanguageModel.load(model, options: options)
  }

  @Test("weights quantised while opening count with their size in memory and unchanged operations")
  func quantizedWhileOpening() async throws {
    // Four layers of F16: q and o of 256 · 256, k and v of 128 · 256, three matrices of 512 · 256. The head is the
    // token table, which is not quantised.
    let layer = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256
    let head = 1377 * 256 * 2
    let plain = try await open(DemoModel.path())
    let quantized = try await open(DemoModel.path(), quantization: LoadQuantization(.nf4))
    #expect(try plain.bytesPerStep(after: 0) == 4 * layer * 2 + head)
    // 64 values take 32 bytes and a scale in float32.
    #expect(try quantized.bytesPerStep(after: 0) == 4 * layer / 64 * 36 + head)
    // The last layer computes these only for keys and values.
    let operations = 2 * (3 * layer + 2 * 128 * 256)
    #expect(try plain.operationsPerToken == operations)
    #expect(try quantized.operationsPerToken == operations)
    let cpu = try CPU()
    #expect(try plain.readsInBytes(on: cpu) == cpu.readsInBytes(.f16))
    #expect(try quantized.readsInBytes(on: cpu) == cpu.readsInBytes(.nf4_F16))
  }

  @Test("weights stored as bitsandbytes' codes count as the matrices that they represent")
  func storedInFourBits() async throws {
    // Two layers of NF4: q and o of 64 · 64, k and v of 32 · 64, three matrices of 128 · 64. The head is BF16.
    let layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64
    let model = try await open(ModelCase.root + "/checkpoints/bnb-nf4")
    #expect(try model.bytesPerStep(after: 0) == 2 * layer / 64 * 36 + 344 * 64 * 2)
    #expect(try model.operationsPerToken == 2 * (layer + 2 * 32 * 64))
    let cpu = try CPU()
    #expect(try model.readsInBytes(on: cpu) == cpu.readsInBytes(.nf4_BF16))
  }

  @Test("in the last layer's fused projection, only the rows for keys and values count as operations")
  func fusedProjections() async throws {
    // Two layers of F16 with 32 columns: 32 rows of queries, 16 of keys, 16 of values, 2 · 36 of the feed-forward's.
    let layer = (32 + 2 * 16) * 32 + 32 * 32 + 2 * 36 * 32 + 32 * 36
    let model = try await open(ModelCase.root + "/checkpoints/phi3")
    #expect(try model.bytesPerStep(after: 0) == 2 * layer * 2 + 344 * 32 * 2)
    #expect(try model.operationsPerToken == 2 * (layer + 2 * 16 * 32))
  }
}
