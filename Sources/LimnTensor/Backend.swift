package import LimnCore

/// Where a model computes: its memory, and every operation that models call. `CPU` implements the list; a GPU, an
/// estimate of what a model needs, or a wrapper that watches another backend implement the same one.
///
/// Activations are float32, [rows, width], a row per token or patch, in the backend's own memory: models move them
/// through these operations only. No row's result depends on the other rows of a call (attention apart), on their
/// number, or on how work is spread: bit for bit, so that a sequence gives the same text alone and among others. The
/// phase that a row belongs to may matter.
package protocol Backend: Sendable {
  // MARK: Memory

  /// Uninitialised memory for activations, aligned to 64 bytes.
  func scratch(bytes: Int) -> Allocation

  /// Zeros that cost nothing until they are written, for keys and values.
  /// - Throws: `unavailable` where there is no room.
  func sparse(bytes: Int) throws(LimnError) -> Allocation

  /// A weight to multiply with, as its file has it: on the CPU the mapped bytes, elsewhere a copy.
  func place(_ tensor: Tensor) throws(LimnError) -> Matrix

  /// A short weight in float32.
  func place(_ values: [Float]) -> Vector

  /// Values from the host into x, row-major.
  func write(_ values: UnsafeBufferPointer<Float>, to x: Activations)

  /// The values of x to the host, row-major. Only after the `submit` that computes them has returned.
  func read(_ x: Activations, into values: UnsafeMutableBufferPointer<Float>)

  /// A key/value head's first keys of a layer, dequantised, to the host: [positions, headSize].
  func keys(of cache: KVCache, layer: Int, head: Int, positions: Int) -> [Float]

  /// A layer's first `positions` positions of a cache into another one of the same shape, as they are stored.
  func copy(_ cache: KVCache, layer: Int, positions: Int, into other: KVCache)

  /// Runs the operations that `body` calls; when it returns, they are done.
  func submit<Result>(_ body: () -> Result) -> Result

  // MARK: Moving

  /// y = x; the widths are equal, and so are the numbers of rows.
  func copy(_ x: Activations, into y: Activations)

  /// y[:, column..<column + x.width] = x.
  func copy(_ x: Activations, into y: Activations, column: Int)

  /// The patches of a picture, each flattened as the weight of a convolution lies:
  /// pixels [3, side, side] → y [patches, 3 · patch · patch], in reading order.
  func patches(_ pixels: UnsafeBufferPointer<Float>, side: Int, patch: Int, into y: Activations)

  /// y[i, :] = table[ids[i], :], dequantised.
  func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations)

  // MARK: Computing

  /// y[t, r] = Σₖ x[t, k] · weight[r, k] + bias[r]; with `adding`, this is added to what y holds (a residual). The
  /// layer's adapters are not applied: they belong to some rows only, see `Linear.adapters`.
  func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase)

  /// y = x / √(mean(x²) + epsilon) · weight, per row; y may be x.
  func rmsNorm(_ x: Activations, weight: Vector, epsilon: Float, into y: Activations)

  /// y = (x − mean) / √(variance + epsilon) · weight + bias, per row; y may be x.
  func layerNorm(_ x: Activations, weight: Vector, bias: Vector, epsilon: Float, into y: Activations)

  /// Rotates the first `table.dimensions` values of every head of x [tokens, heads · headSize], in place;
  /// row i stands at position firstPosition + i.
  func rope(_ x: Activations, heads: Int, firstPosition: Int, table: RoPETable)

  /// Stores keys and values [tokens, kvHeads · headSize] in the cache of a layer, from `position` on.
  func store(keys: Activations, values: Activations, in cache: KVCache, layer: Int, position: Int)

  /// Causal attention of queries [tokens, heads · headSize] (row i at position firstPosition + i) over the
  /// cached positions 0...(its own), or only the last `window` of them; into [tokens, heads · headSize].
  /// Query head h reads key/value head h / (heads / kvHeads). Scores are multiplied by `scale`.
  func attention(
    _ q: Activations, heads: Int, cache: KVCache, layer: Int, firstPosition: Int, window: Int?, scale: Float,
    into y: Activations, phase: Phase)

  /// Attention of every row over all rows, as a vision tower does: q, k, v [patches, heads · headSize].
  func fullAttention(
    q: Activations, k: Activations, v: Activations, heads: Int, scale: Float, into y: Activations)

  /// x = gelu(x), in place.
  func gelu(_ x: Activations, _ kind: GELU)

  /// gate = silu(gate) · up, in place; silu(x) = x · σ(x).
  func siluMultiply(_ gate: Activations, _ up: Activations)

  /// y = y + x.
  func add(_ x: Activations, into y: Activations)

  // MARK: Costs

  /// A rough guess at the multiplications and additions of a prefill per second; measured times replace it soon.
  var assumedOperationsPerSecond: Double { get }

  /// What one more token of a draft adds to the time of a decode step, in steps of one token.
  var furtherTokenCost: Double { get }
}

/// What the rows of a matrix product, or the queries of attention, belong to.
///
/// Prefill rows come many at a time, decode rows a few: each has its fastest arithmetic. The phase of a row depends on
/// its own sequence only, never on what else a step computes.
package enum Phase: Sendable {
  /// Tokens of a prompt, or patches of a picture.
  case prefill
  /// Tokens of an answer under way, drafts included, and the rows that logits are computed from.
  case decode
}

/// The three functions that go by the name of GELU.
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
  /// Activations stay in float32: the one to compare with references.
  case exact
  /// bf16 or int8 activations where the machine has the instructions for them.
  case fast
}
