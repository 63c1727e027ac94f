package import LimnCore
import Synchronization

/// A backend that computes nothing: from shapes alone it adds up the memory that a model takes and the work in a step.
/// Its addresses point nowhere, so the weights need not be there.
package final class Estimate: Backend {
  package struct Figures: Sendable, Equatable {
    /// Bytes of the weights placed on it: matrices in their stored format, short weights in float32.
    package var weights = 0
    /// Bytes of working memory at its peak.
    package var scratch = 0
    /// Bytes of keys and values at full length.
    package var keysAndValues = 0
    /// Bytes of weights that operations read.
    package var weightsRead = 0
    /// Bytes of keys and values of earlier positions that operations read.
    package var keysAndValuesRead = 0
    /// Multiplications and additions of matrix products, by the type of the weight.
    package var products: [TensorType: Int] = [:]
    /// Multiplications and additions of attention.
    package var attention = 0

    package var operations: Int { products.values.reduce(0, +) }

    package init() {}
  }

  private struct State {
    var figures = Figures()
    var scratch = 0
    var next: UInt = 64
  }

  private let state = Mutex(State())

  package init() {}

  package var figures: Figures { state.withLock { $0.figures } }

  /// The amounts that `body` adds.
  package func figures<Failure: Error>(of body: () throws(Failure) -> Void) throws(Failure) -> Figures {
    state.withLock { $0.figures = Figures() }
    try body()
    return figures
  }

  // MARK: Memory

  private func allocate(_ bytes: Int) -> Address {
    state.withLock { state in
      defer { state.next += UInt(max(64, bytes + 63) & ~63) }
      return Address(state.next)
    }
  }

  package func scratch(bytes: Int) -> Allocation {
    state.withLock { state in
      state.scratch += bytes
      state.figures.scratch = max(state.figures.scratch, state.scratch)
    }
    return Allocation(allocate(bytes), byteCount: bytes) { [weak self] _, bytes in
      self?.state.withLock { $0.scratch -= bytes }
    }
  }

  package func sparse(bytes: Int) throws(LimnError) -> Allocation {
    state.withLock { $0.figures.keysAndValues += bytes }
    return Allocation(allocate(0), byteCount: bytes) { _, _ in }
  }

  package func place(_ tensor: Tensor) throws(LimnError) -> Matrix {
    let matrix = Matrix(tensor, at: allocate(0), owner: self)
    state.withLock { $0.figures.weights += matrix.byteCount }
    return matrix
  }

  package func place(_ values: [Float]) -> Vector {
    state.withLock { $0.figures.weights += values.count * 4 }
    return Vector(allocate(0), count: values.count, owner: self)
  }

  package func write(_ values: UnsafeBufferPointer<Float>, to x: Activations) {}
  package func read(_ x: Activations, into values: UnsafeMutableBufferPointer<Float>) {
    values.initialize(repeating: 0)
  }
  package func keys(of cache: KVCache, layer: Int, head: Int, positions: Int) -> [Float] {
    [Float](repeating: 0, count: positions * cache.headSize)
  }
  package func copy(_ cache: KVCache, layer: Int, positions: Int, into other: KVCache) {}
  package func submit<Result>(_ body: () -> Result) -> Result { body() }

  // MARK: Work

  package func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase) {
    precondition(x.width == layer.inputs && y.width == layer.outputs && x.rows == y.rows)
    state.withLock { state in
      state.figures.weightsRead += layer.weight.byteCount
      state.figures.products[layer.weight.type, default: 0] += 2 * x.rows * layer.weight.count
    }
  }

  package func attention(
    _ q: Activations, heads: Int, cache: KVCache, layer: Int, firstPosition: Int, window: Int?, scale: Float,
    into y: Activations, phase: Phase, allowsBFloat16: Bool
  ) {
    let seen = (0..<q.rows).reduce(0) { $0 + min(firstPosition + $1 + 1, window ?? .max) }
    state.withLock { state in
      state.figures.attention += 4 * seen * q.width
      state.figures.keysAndValuesRead += 2 * min(firstPosition, window ?? .max) * cache.kvHeads * cache.positionBytes
    }
  }

  package func fullAttention(
    q: Activations, k: Activations, v: Activations, heads: Int, scale: Float, into y: Activations
  ) {
    state.withLock { $0.figures.attention += 4 * q.rows * k.rows * q.width }
  }

  package func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations) {
    state.withLock { $0.figures.weightsRead += ids.count * table.rowBytes }
  }

  // These cost too little to count.
  package func copy(_ x: Activations, into y: Activations) {}
  package func copy(_ x: Activations, into y: Activations, column: Int) {}
  package func patches(_ pixels: UnsafeBufferPointer<Float>, side: Int, patch: Int, into y: Activations) {}
  package func rmsNorm(_ x: Activations, weight: Vector, epsilon: Float, into y: Activations) {}
  package func layerNorm(_ x: Activations, weight: Vector, bias: Vector, epsilon: Float, into y: Activations) {}
  package func rope(_ x: Activations, heads: Int, firstPosition: Int, table: RoPETable) {}
  package func store(keys: Activations, values: Activations, in cache: KVCache, layer: Int, position: Int) {}
  package func gelu(_ x: Activations, _ kind: GELU) {}
  package func siluMultiply(_ gate: Activations, _ up: Activations) {}
  package func add(_ x: Activations, into y: Activations) {}

  package var assumedOperationsPerSecond: Double { 1e12 }
  package var furtherTokenCost: Double { 0.2 }
}
