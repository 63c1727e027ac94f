import LimnTensor
import Testing

@Suite struct AttentionTests {
  /// q, k, v of Tools/fixtures/kernels.py: 70 positions, 4 heads, 2 key/value heads.
  private static func inputs(_ size: Int) throws -> (q: Rows, k: Rows, v: Rows) {
    func load(_ name: String, _ heads: Int) throws -> Rows {
      let name = "attention.\(size).\(name)"
      return Rows(size == 64 ? try Fixture.halves(name) : try Fixture.floats(name), width: heads * size)
    }
    return (try load("q", 4), try load("k", 2), try load("v", 2))
  }

  private static func cache(_ size: Int, _ storage: KVCache.Storage) -> KVCache {
    KVCache(layers: 2, kvHeads: 2, headSize: size, capacity: 80, storage: storage)
  }

  @Test("causal attention agrees with PyTorch, with and without a window", arguments: isas, [10, 64])
  func causal(isa: ISA, size: Int) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let (q, k, v) = try Self.inputs(size)
    // The values of the larger case are exact in float16.
    for storage in size == 64 ? [KVCache.Storage.float32, .float16] : [.float32] {
      let cache = Self.cache(size, storage)
      cpu.store(keys: k.activations, values: v.activations, in: cache, layer: 1, position: 0)
      for (window, name) in [(nil, "causal"), (9, "window")] as [(Int?, String)] {
        let y = Rows(rows: 70, width: 4 * size)
        cpu.attention(
          q.activations, heads: 4, cache: cache, layer: 1, firstPosition: 0, window: window,
          scale: 1 / Float(size).squareRoot(), into: y.activations)
        let expected = try Fixture.doubles(floats: "attention.\(size).\(name)")
        #expect(distance(y.values, expected) < 1e-5, "\(name) \(storage)")
      }
    }
  }

  @Test("full attention agrees with PyTorch", arguments: isas, [10, 64])
  func full(isa: ISA, size: Int) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    let (q, k, v) = try Self.inputs(size)
    // Every query head with keys and values of its own: key/value heads repeated.
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
    #expect(distance(y.values, expected) < 1e-5)
  }

  @Test(
    "a query's bits are the same in one pass, in chunks, token by token, and on any threads", arguments: isas)
  func chunks(isa: ISA) throws {
    let (q, k, v) = try Self.inputs(64)
    for window in [nil, 9] as [Int?] {
      for storage in [KVCache.Storage.float32, .float16] {
        var results: [[UInt32]] = []
        for (threads, chunk) in [(1, 70), (2, 70), (2, 33), (1, 1)] {
          let cpu = try CPU(threads: threads, isa: isa)
          let cache = Self.cache(64, storage)
          let y = Rows(rows: 70, width: 256)
          for start in stride(from: 0, to: 70, by: chunk) {
            let range = start..<min(70, start + chunk)
            cpu.store(
              keys: k.activations.rows(range), values: v.activations.rows(range), in: cache, layer: 0,
              position: start)
            cpu.attention(
              q.activations.rows(range), heads: 4, cache: cache, layer: 0, firstPosition: start,
              window: window,
              scale: 0.125, into: y.activations.rows(range))
          }
          results.append(y.values.map(\.bitPattern))
        }
        #expect(results.allSatisfy { $0 == results[0] }, "window \(window ?? 0), \(storage)")
      }
    }
  }
}
