/// The operations that models call, all of them. `CPU` implements the list; a GPU can implement the same one.
///
/// Activations are float32, [rows, width], a row per token or patch. No row's result depends on the other
/// rows of a call (attention apart), on their number, or on the number of threads: bit for bit, so that a
/// sequence gives the same text alone and among others. What kind of token a row is may matter.
package protocol Backend: Sendable {
  /// y[t, r] = Σₖ x[t, k] · weight[r, k] + bias[r]; with `adding`, this is added to what y holds (a residual).
  func linear(_ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase)

  /// y[i, :] = table[ids[i], :], dequantised.
  func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations)

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
}

/// What the rows of a matrix product, or the queries of attention, are.
///
/// Prompts come many at a time, answers token by token: each has its fastest arithmetic. Which of the two a row
/// is depends on its own sequence only, never on what else a step computes.
package enum Phase: Sendable {
  /// Of a prompt, or patches of a picture.
  case prefill
  /// Of an answer under way, drafted ones included, and the rows that logits are computed from.
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

/// How exactly the CPU computes.
public enum Precision: String, Sendable, CaseIterable {
  /// Activations stay in float32: the one to compare with references.
  case exact
  /// bf16 or int8 activations where the machine has the instructions for them.
  case fast
}
