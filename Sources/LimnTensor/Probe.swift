import CLimnSystem
package import LimnCore
import Synchronization

/// A backend that delegates to another one and records its attention: how much chosen positions attend to others.
///
/// It recomputes the attention weights in float32 on the host, from the queries and keys that the layers see, so
/// kernels need not expose theirs. This is slow and exact, meant for looking into a model.
package final class Probe: Backend {
  /// What to record.
  package struct Target: Sendable {
    package var layers: Range<Int>
    package var heads: Range<Int>
    /// The positions that attend.
    package var queries: Range<Int>
    /// The positions attended to, in ascending order, such as those of an image.
    package var keys: [Int]

    package init(layers: Range<Int>, heads: Range<Int>, queries: Range<Int>, keys: [Int]) {
      self.layers = layers
      self.heads = heads
      self.queries = queries
      self.keys = keys
    }

    /// Number of values in the whole map.
    package var count: Int { layers.count * heads.count * queries.count * keys.count }
  }

  private let base: any Backend
  package let target: Target
  /// [layers, heads, queries, keys]; 0 where nothing was computed, and where a key comes after the query.
  private let weights: Mutex<[Float]>

  package init(_ base: any Backend, watching target: Target) {
    self.base = base
    self.target = target
    weights = Mutex([Float](repeating: 0, count: target.count))
  }

  /// The attention weights [layers, heads, queries, keys].
  package var attention: [Float] { weights.withLock { $0 } }

  package func attention(
    _ q: Activations, heads: Int, cache: KVCache, layer: Int, firstPosition: Int, window: Int?, scale: Float,
    into y: Activations, phase: Phase, allowsBFloat16: Bool
  ) {
    base.attention(
      q, heads: heads, cache: cache, layer: layer, firstPosition: firstPosition, window: window, scale: scale, into: y,
      phase: phase, allowsBFloat16: allowsBFloat16)
    let rows = target.queries.clamped(to: firstPosition..<firstPosition + q.rows)
    guard target.layers.contains(layer), !rows.isEmpty else { return }
    let size = cache.headSize
    var queries = [Float](repeating: 0, count: q.count)
    queries.withUnsafeMutableBufferPointer { base.read(q, into: $0) }
    for head in target.heads.clamped(to: 0..<heads) {
      let keys = base.keys(of: cache, layer: layer, head: head / (heads / cache.kvHeads), positions: rows.upperBound)
      for position in rows {
        let row = ((position - firstPosition) * heads + head) * size
        let query = queries[row..<row + size]
        record(
          Self.softmax(query, keys, from: max(0, position + 1 - (window ?? .max)), through: position, scale),
          layer: layer, head: head, position: position)
      }
    }
  }

  /// The weights of positions 0...position; 0 for those before `first`.
  private static func softmax(
    _ query: ArraySlice<Float>, _ keys: [Float], from first: Int, through position: Int, _ scale: Float
  ) -> [Float] {
    var weights = [Float](repeating: 0, count: position + 1)
    for key in first...position {
      var sum: Float = 0
      for (offset, value) in query.enumerated() { sum += value * keys[key * query.count + offset] }
      weights[key] = sum * scale
    }
    let largest = weights[first...].max()!
    var total: Float = 0
    for key in first...position {
      weights[key] = expf(weights[key] - largest)
      total += weights[key]
    }
    for key in first...position { weights[key] /= total }
    return weights
  }

  private func record(_ row: [Float], layer: Int, head: Int, position: Int) {
    let index =
      ((layer - target.layers.lowerBound) * target.heads.count + head - target.heads.lowerBound)
      * target.queries.count + position - target.queries.lowerBound
    weights.withLock { weights in
      for (place, key) in target.keys.enumerated() where key < row.count {
        weights[index * target.keys.count + place] = row[key]
      }
    }
  }

  // MARK: Delegation

  package func scratch(bytes: Int) -> Allocation { base.scratch(bytes: bytes) }
  package func sparse(bytes: Int) throws(LimnError) -> Allocation { try base.sparse(bytes: bytes) }
  package func place(_ tensor: Tensor) throws(LimnError) -> Matrix { try base.place(tensor) }
  package func place(_ values: [Float]) -> Vector { base.place(values) }
  package func write(_ values: UnsafeBufferPointer<Float>, to x: Activations) { base.write(values, to: x) }
  package func read(_ x: Activations, into values: UnsafeMutableBufferPointer<Float>) { base.read(x, into: values) }
  package func keys(of cache: KVCache, layer: Int, head: Int, positions: Int) -> [Float] {
    base.keys(of: cache, layer: layer, head: head, positions: positions)
  }
  package func copy(_ cache: KVCache, layer: Int, positions: Int, into other: KVCache) {
    base.copy(cache, layer: layer, positions: positions, into: other)
  }
  /// Each operation is submitted by itself, so that what attention reads has been computed.
  package func submit<Result>(_ body: () -> Result) -> Result { body() }
  package func copy(_ x: Activations, into y: Activations) { base.copy(x, into: y) }
  package func copy(_ x: Activations, into y: Activations, column: Int) { base.copy(x, into: y, column: column) }
  package func patches(_ pixels: UnsafeBufferPointer<Float>, side: Int, patch: Int, into y: Activations) {
    base.patches(pixels, side: side, patch: patch, into: y)
  }
  package func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations) {
    base.gather(ids, from: table, into: y)
  }
  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase) {
    base.linear(x, layer, into: y, adding: adding, phase: phase)
  }
  package func rmsNorm(_ x: Activations, weight: Vector, epsilon: Float, into y: Activations) {
    base.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }
  package func layerNorm(_ x: Activations, weight: Vector, bias: Vector, epsilon: Float, into y: Activations) {
    base.layerNorm(x, weight: weight, bias: bias, epsilon: epsilon, into: y)
  }
  package func rope(_ x: Activations, heads: Int, firstPosition: Int, table: RoPETable) {
    base.rope(x, heads: heads, firstPosition: firstPosition, table: table)
  }
  package func store(keys: Activations, values: Activations, in cache: KVCache, layer: Int, position: Int) {
    base.store(keys: keys, values: values, in: cache, layer: layer, position: position)
  }
  package func fullAttention(
    q: Activations, k: Activations, v: Activations, heads: Int, scale: Float, into y: Activations
  ) { base.fullAttention(q: q, k: k, v: v, heads: heads, scale: scale, into: y) }
  package func gelu(_ x: Activations, _ kind: GELU) { base.gelu(x, kind) }
  package func siluMultiply(_ gate: Activations, _ up: Activations) { base.siluMultiply(gate, up) }
  package func add(_ x: Activations, into y: Activations) { base.add(x, into: y) }
  package var assumedOperationsPerSecond: Double { base.assumedOperationsPerSecond }
  package var furtherTokenCost: Double { base.furtherTokenCost }
}
