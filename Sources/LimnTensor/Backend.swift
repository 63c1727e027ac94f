package import LimnCore

/// Where a model computes: its memory, and every operation that models call. `CPU` implements this list; so can a GPU,
/// an estimate of what a model needs, or a wrapper that watches another backend.
///
/// Activations are float32, [rows, width], one row per token or patch, in the backend's own memory; models move them
/// only through these operations. Except in attention, a row's result depends neither on the other rows of a call, nor
/// on how many there are, nor on how work is spread over threads, bit for bit: a sequence gives the same text alone and
/// in a batch. It may depend on the row's phase.
package protocol Backend: Sendable {
  // MARK: Memory

  /// Uninitialised memory for activations, aligned to 64 bytes.
  func scratch(bytes: Int) -> Allocation

  /// Memory that reads as zeros and costs nothing until it is written, for keys and values.
  /// - Throws: `unavailable` when there is no room.
  func sparse(bytes: Int) throws(LimnError) -> Allocation

  /// A weight to multiply with, in its file's format: on the CPU the mapped bytes, elsewhere a copy.
  func place(_ tensor: Tensor) throws(LimnError) -> Matrix

  /// A short weight in float32.
  func place(_ values: [Float]) -> Vector

  /// Copies values from the host into x, row-major.
  func write(_ values: UnsafeBufferPointer<Float>, to x: Activations)

  /// Copies the values of x to the host, row-major. Call it only after the `submit` that computes them has returned.
  func read(_ x: Activations, into values: UnsafeMutableBufferPointer<Float>)

  /// Copies the first keys of one key/value head of a layer to the host, dequantised: [positions, headSize].
  func keys(of cache: KVCache, layer: Int, head: Int, positions: Int) -> [Float]

  /// Copies a layer's first `positions` positions from one cache to another of the same shape, as they are stored.
  func copy(_ cache: KVCache, layer: Int, positions: Int, into other: KVCache)

  /// Runs the operations that `body` calls; they are complete when it returns.
  func submit<Result>(_ body: () -> Result) -> Result

  // MARK: Moving

  /// y = x; both have the same number of rows and the same width.
  func copy(_ x: Activations, into y: Activations)

  /// y[:, column..<column + x.width] = x.
  func copy(_ x: Activations, into y: Activations, column: Int)

  /// The patches of an image, each flattened in the order of a convolution's weight: pixels [3, side, side]
  /// → y [patches, 3 · patch · patch], in reading order.
  func patches(_ pixels: UnsafeBufferPointer<Float>, side: Int, patch: Int, into y: Activations)

  /// y[i, :] = table[ids[i], :], dequantised.
  func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations)

  // MARK: Computing

  /// y[t, r] = Σₖ x[t, k] · weight[r, k] + bias[r]; with `adding`, the result is added to y (a residual). The layer's
  /// adapters are not applied, because they belong to some of the rows only: see `Linear.adapters`.
  func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase)

  /// y = x / √(mean(x²) + epsilon) · weight, per row; y may be x.
  func rmsNorm(_ x: Activations, weight: Vector, epsilon: Float, into y: Activations)

  /// y = (x − mean) / √(variance + epsilon) · weight + bias, per row; y may be x.
  func layerNorm(_ x: Activations, weight: Vector, bias: Vector, epsilon: Float, into y: Activations)

  /// Rotates the first `table.dimensions` values of every head of x [tokens, heads · headSize], in place; row i has
  /// position firstPosition + i.
  func rope(_ x: Activations, heads: Int, firstPosition: Int, table: RoPETable)

  /// Stores keys and values [tokens, kvHeads · headSize] in a layer's cache, starting at `position`.
  func store(keys: Activations, values: Activations, in cache: KVCache, layer: Int, position: Int)

  /// Causal attention of queries [tokens, heads · headSize] over the cache, into [tokens, heads · headSize]. Row i has
  /// position p = firstPosition + i and sees positions 0...p, or only the last `window` of them. Query head h reads
  /// key/value head h / (heads / kvHeads). Scores are multiplied by `scale`. With `allowsBFloat16`, prefill in `fast` may
  /// round queries, keys, values and probabilities to bfloat16, where that is faster.
  func attention(
    _ q: Activations, heads: Int, cache: KVCache, layer: Int, firstPosition: Int, window: Int?, scale: Float,
    into y: Activations, phase: Phase, allowsBFloat16: Bool)

  /// Attention of every row to all rows, as in a vision tower: q, k, v [patches, heads · headSize].
  func fullAttention(
    q: Activations, k: Activations, v: Activations, heads: Int, scale: Float, into y: Activations)

  /// x = gelu(x), in place.
  func gelu(_ x: Activations, _ kind: GELU)

  /// gate = silu(gate) · up, in place; silu(x) = x · σ(x).
  func siluMultiply(_ gate: Activations, _ up: Activations)

  /// y = y + x.
  func add(_ x: Activations, into y: Activations)

  // MARK: Costs

  /// A rough estimate of multiplications and additions per second in prefill, soon replaced by measured times.
  var assumedOperationsPerSecond: Double { get }

  /// How much one more draft token adds to the time of a decode step, in units of a one-token step.
  var furtherTokenCost: Double { get }
}

/// The phase that rows of a matrix product, or queries of attention, belong to.
///
/// Prefill brings many rows at a time, decode a few, and each phase uses the arithmetic that is fastest for it. A row's
/// phase depends on its own sequence only, never on what else a step computes.
package enum Phase: Sendable {
  /// Tokens of a prompt, or patches of an image.
  case prefill
  /// Tokens being generated, drafts included, and the rows from which logits are computed.
  case decode
}

/// The three functions called GELU.
package enum GELU: Sendable {
  /// x/2 · (1 + erf(x / √2)): the projector.
  case erf
  /// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), "gelu_new" and "gelu_pytorch_tanh": Phi-2, SigLIP.
  case tanh
  /// x · σ(1.702 x), "quick_gelu": CLIP.
  case quick
}

/// How exactly a backend computes.
public enum Precision: String, Sendable, CaseIterable {
  /// Activations stay in float32: use this to compare with references.
  case exact
  /// Activations are bf16 or int8 where the machine has the instructions for them.
  case fast
}
