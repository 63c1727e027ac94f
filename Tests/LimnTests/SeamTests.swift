import LimnFiles
import Limn
import LimnCore
import LimnTensor
import LimnTesting
import Testing

/// The seam between models and devices.
@Suite struct SeamTests {
  @Test(
    "layers that alternate between two backends give the same bits as on one", arguments: ["llama-gqa-odd", "phi2"])
  func placement(_ name: String) async throws {
    let testCase = try ModelCase(name)
    let whole = try await testCase.open()
    let language = whole.checkpoint.config.language
    let cpus = [try CPU(threads: 1, precision: .exact), try CPU(threads: 2, precision: .exact)]
    let split = try Llava(
      whole.checkpoint, context: 1024, quantization: nil, cpu: cpus[0],
      placement: Placement(backends: cpus, layers: (0..<language.layers).map { $0 % 2 }, tables: 1))
    let engine = Engine(split, storage: .f32, context: 1024)
    let prompt = PromptInputs(tokens: (0..<40).map { Int32(3 + $0 * 7 % 200) })
    #expect(try await engine.logits(of: prompt) == whole.engine.logits(of: prompt))
    let request = SequenceRequest(prompt: prompt, maxTokens: 20)
    #expect(try await engine.said([request])[0].tokens == whole.engine.said([request])[0].tokens)
  }

  @Test("an estimate counts the bytes that weights, keys and values take in opening and answering")
  func estimate() async throws {
    let testCase = try ModelCase("llama-gqa-odd")
    let model = try await testCase.open()
    let language = model.engine.model.language
    let estimate = Estimate()
    let placed = try Llava(
      model.checkpoint, context: 64, quantization: nil, cpu: try CPU(threads: 1),
      placement: Placement(estimate, layers: language.layerCount))
    let config = language.config
    // Matrices with their size in the file; norms, biases and rotary tables in float32.
    let matrices = model.checkpoint.weights.filter {
      placed.unread.contains($0.key) == false && $0.value.shape.count > 1
    }
    let bytes = matrices.values.reduce(0) { $0 + $1.byteCount }
    #expect(estimate.figures.weights >= bytes && estimate.figures.weights < bytes + bytes / 10)
    let step = try language.estimate(rows: 1, after: 99, wanted: 1, phase: .decode, storage: .f16)
    #expect(step.keysAndValues == 2 * config.layers * config.kvHeads * config.headSize * 2 * 100)
    #expect(step.keysAndValuesRead == step.keysAndValues / 100 * 99)
    // Scores and sums of 100 positions, two operations each.
    #expect(step.attention == 4 * 100 * config.layers * config.heads * config.headSize)
  }

  @Test("an abandoned step multiplies nothing")
  func abandonment() throws {
    let cpu = try CPU(threads: 1, precision: .exact)
    let scratch = Scratch(cpu)
    let x = scratch.take(rows: 2, width: 1), y = scratch.take(rows: 2, width: 1)
    let three = try Tensor(floats: [3])
    let layer = Linear(weight: Matrix(Tensor(type: .f32, shape: [1, 1], memory: three.memory, range: three.range)))
    [1, 2].withUnsafeBufferPointer { cpu.write($0, to: x) }
    for isAbandoned in [true, false] {
      [7, 7].withUnsafeBufferPointer { cpu.write($0, to: y) }
      Step(backend: cpu, scratch: scratch, isAbandoned: { isAbandoned }).linear(x, layer, into: y)
      var values: [Float] = [0, 0]
      values.withUnsafeMutableBufferPointer { cpu.read(y, into: $0) }
      #expect(values == (isAbandoned ? [7, 7] : [3, 6]))
    }
  }
}
