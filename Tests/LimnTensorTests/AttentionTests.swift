import LimnCore
import LimnTensor
import Testing

@Suite struct AttentionTests {
  /// q, k, v from Tools/fixtures/kernels.py: 70 positions, 4 heads, 2 key/value heads.
  private static func inputs(_ size: Int) throws -> (q: Rows, k: Rows, v: Rows) {
    func load(_ name: String, _ heads: Int) throws -> Rows {
      let name = "attention.\(size).\(name)"
      return Rows(size == 64 ? try Fixture.halves(name) : try Fixture.floats(name), width: heads * size)
    }
    return (try load("q", 4), try load("k", 2), try load("v", 2))
  }

  private static func cache(_ size: Int, _ storage: KVType) throws -> KVCache {
    try KVCache(layers: 2, kvHeads: 2, headSize: size, capacity: 80, storage: storage, on: try CPU(threads: 1))
  }

  @Test("a cache beyond the address space is refused, and the error gives its size")
  func noRoom() throws {
    for capacity in [1 << 40, Int.max / 3] {
      let error = #expect(throws: LimnError.self) {
        try KVCache(layers: 32, kvHeads: 32, headSize: 128, capacity: capacity, storage: .f16, on: try CPU(threads: 1))
      }
      #expect(error?.kind == .unavailable && "\(error!)".contains("MB for \(capacity) positions"))
    }
  }

  /// The largest errors allowed, relative to the largest value that is averaged.
  private enum Budget {
    /// Sums in another order.
    static let float32 = 2e-6
    /// Half a unit of 2⁻⁸ each for v, for p, and for the error of q · k.
    static let bfloat16 = 3 * 0x1p-9
    /// Half a step of 1/127 for v, the same for the error of q · k, and what bfloat16 may add.
    static let q8 = 1.0 / 127 + bfloat16

    static func of(_ precision: Precision, _ storage: KVType = .f32) -> Double {
      storage == .q8_0 ? q8 : precision == .fast ? bfloat16 : float32
    }
  }

  /// The largest |a − b|, relative to the largest value.
  private func largestError(_ a: [Float], _ b: [Double], values: Rows) -> Double {
    precondition(a.count == b.count && !a.isEmpty)
    let largest = Double(values.values.map(abs).max() ?? 0)
    return zip(a, b).reduce(0) { max($0, $1.0.isNaN ? .infinity : abs(Double($1.0) - $1.1) / largest) }
  }

  @Test("causal attention agrees with PyTorch, with and without a window", arguments: isas, Precision.allCases)
  func causal(isa: ISA, precision: Precision) throws {
    for size in [10, 64] { try causal(isa, precision, size) }
  }

  private func causal(_ isa: ISA, _ precision: Precision, _ size: Int) throws {
    let cpu = try CPU(threads: 2, precision: precision, isa: isa)
    let (q, k, v) = try Self.inputs(size)
    // The values of the larger case are exact in float16.
    for storage in size == 64 ? KVType.allCases : [.f32, .q8_0] {
      let cache = try Self.cache(size, storage)
      cpu.store(keys: k.activations, values: v.activations, in: cache, layer: 1, position: 0)
      for (window, name) in [(nil, "causal"), (9, "window")] as [(Int?, String)] {
        let expected = try Fixture.doubles(floats: "attention.\(size).\(name)")
        for phase in [Phase.prefill, .decode] {
          let y = Rows(rows: 70, width: 4 * size)
          cpu.attention(
            q.activations, heads: 4, cache: cache, layer: 1, firstPosition: 0, window: window,
            scale: 1 / Float(size).squareRoot(), into: y.activations, phase: phase, allowsBFloat16: true)
          let error = largestError(y.values, expected, values: v)
          #expect(error < Budget.of(precision, storage), "\(size) \(name) \(storage) \(phase)")
        }
      }
    }
  }

  @Test("full attention agrees with PyTorch", arguments: isas, Precision.allCases)
  func full(isa: ISA, precision: Precision) throws {
    for size in [10, 64] { try full(isa, precision, size) }
  }

  private func full(_ isa: ISA, _ precision: Precision, _ size: Int) throws {
    let cpu = try CPU(threads: 2, precision: precision, isa: isa)
    let (q, k, v) = try Self.inputs(size)
    // Every query head has keys and values of its own: key/value heads are repeated.
    func repeated(_ rows: Rows) -> Rows {
      let values = rows.values
      var wide: [Float] = []
      for i in 0..<70 {
        for head in [0, 0, 1, 1] { wide += values[(i * 2 + head) * size..<(i * 2 + head + 1) * size] }
      }
      return Rows(wide, width: 4 * size)
    }
    let y = Rows(rows: 70, width: 4 * size)
    cpu.fullAttention(
      q: q.activations, k: repeated(k).activations, v: repeated(v).activations, heads: 4,
      scale: 1 / Float(size).squareRoot(), into: y.activations)
    let expected = try Fixture.doubles(floats: "attention.\(size).full")
    #expect(largestError(y.values, expected, values: v) < Budget.of(precision), "\(size)")
  }

  @Test(
    "a query's bits depend neither on chunking nor on the number of threads", arguments: isas,
    Precision.allCases)
  func chunks(isa: ISA, precision: Precision) throws {
    let (q, k, v) = try Self.inputs(64)
    for window in [nil, 9] as [Int?] {
      for (storage, phase) in KVType.allCases.flatMap({ [($0, Phase.prefill), ($0, .decode)] }) {
        var results: [[UInt32]] = []
        for (threads, chunk) in [(1, 70), (2, 70), (2, 33), (1, 1)] {
          let cpu = try CPU(threads: threads, precision: precision, isa: isa)
          let cache = try Self.cache(64, storage)
          let y = Rows(rows: 70, width: 256)
          for start in stride(from: 0, to: 70, by: chunk) {
            let range = start..<min(70, start + chunk)
            cpu.store(
              keys: k.activations.rows(range), values: v.activations.rows(range), in: cache, layer: 0,
              position: start)
            cpu.attention(
              q.activations.rows(range), heads: 4, cache: cache, layer: 0, firstPosition: start,
              window: window, scale: 0.125, into: y.activations.rows(range), phase: phase, allowsBFloat16: true)
          }
          results.append(y.values.map(\.bitPattern))
        }
        #expect(results.allSatisfy { $0 == results[0] }, "window \(window ?? 0), \(storage), \(phase)")
      }
    }
  }

  @Test("head sizes and lengths at the edges of tiles and blocks agree with the scalar reference", arguments: isas)
  func edges(isa: ISA) throws {
    var random = Random(11)
    for (size, positions, queries) in [(1, 1, 1), (15, 63, 2), (33, 64, 13), (80, 65, 1), (96, 130, 25), (160, 17, 17)]
    {
      let q = Rows(random.floats(queries * 6 * size, 2), width: 6 * size)
      let k = Rows(random.floats(positions * 2 * size, 2), width: 2 * size)
      let v = Rows(random.floats(positions * 2 * size, 2), width: 2 * size)
      for (precision, storage) in Precision.allCases.flatMap({ precision in KVType.allCases.map { (precision, $0) } }) {
        let results = try [(ISA.scalar, Phase.prefill), (isa, .prefill), (isa, .decode)].map { isa, phase in
          let cpu = try CPU(threads: 2, precision: precision, isa: isa)
          let cache = try KVCache(
            layers: 1, kvHeads: 2, headSize: size, capacity: positions, storage: storage, on: try CPU(threads: 1))
          cpu.store(keys: k.activations, values: v.activations, in: cache, layer: 0, position: 0)
          let y = Rows(rows: queries, width: 6 * size)
          cpu.attention(
            q.activations, heads: 6, cache: cache, layer: 0, firstPosition: positions - queries, window: nil,
            scale: 1 / Float(size).squareRoot(), into: y.activations, phase: phase, allowsBFloat16: true)
          return y.values
        }
        // Both sides use the same cache, so storage rounding cancels out.
        for result in results[1...] {
          let error = largestError(result, results[0].map(Double.init), values: v)
          #expect(error < Budget.of(precision), "\(size) \(precision) \(storage)")
        }
      }
    }
  }

  @Test("q8_0 rounds values by at most half a step, identically on every instruction set", arguments: isas)
  func q8Storage(isa: ISA) throws {
    let size = 40
    var random = Random(5)
    var values = random.floats(2 * size, 3)
    for i in 32..<40 { values[i] = 0 }
    let (q, v) = (Rows(random.floats(2 * size), width: 2 * size), Rows(values, width: 2 * size))
    // A query that sees one position returns that position's value.
    let results = try [ISA.scalar, isa].map { isa in
      let cpu = try CPU(threads: 1, precision: .exact, isa: isa)
      let cache = try KVCache(
        layers: 1, kvHeads: 2, headSize: size, capacity: 1, storage: .q8_0, on: try CPU(threads: 1))
      cpu.store(keys: v.activations, values: v.activations, in: cache, layer: 0, position: 0)
      let y = Rows(rows: 1, width: 2 * size)
      cpu.attention(
        q.activations, heads: 2, cache: cache, layer: 0, firstPosition: 0, window: nil, scale: 1,
        into: y.activations, phase: .prefill, allowsBFloat16: true)
      return y.values
    }
    #expect(results[0].map(\.bitPattern) == results[1].map(\.bitPattern))
    for head in 0..<2 {
      for block in [0..<32, 32..<40] {
        let range = block.lowerBound + head * size..<block.upperBound + head * size
        let largest = values[range].map(abs).max() ?? 0
        // Half a step of 1/127, and the rounding of the scale to 11 bits.
        for i in range { #expect(abs(results[1][i] - values[i]) <= largest * (0.5 / 127 + 0x1p-11)) }
      }
    }
  }
}
