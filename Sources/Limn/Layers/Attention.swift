import LimnTensor

/// Causal self-attention with rotary positions over a key/value cache; grouped queries where kvHeads < heads.
struct Attention: Sendable {
  let q: Linear  // [heads · headSize, hidden]
  let k: Linear  // [kvHeads · headSize, hidden]
  let v: Linear  // [kvHeads · headSize, hidden]
  let o: Linear  // [hidden, heads · headSize]
  let heads: Int
  let kvHeads: Int
  let headSize: Int
  let rope: RoPE
  /// How many positions a token sees, itself included; nil: all before it.
  let window: Int?

  /// y += o(attention(x)); x and y [tokens, hidden].
  func forward(_ x: Activations, addingTo y: Activations, layer: Int, _ step: Step) {
    let backend = step.backend
    step.scratch.frame {
      let q = step.scratch.take(rows: x.rows, width: heads * headSize)
      let k = step.scratch.take(rows: x.rows, width: kvHeads * headSize)
      let v = step.scratch.take(rows: x.rows, width: kvHeads * headSize)
      step.linear(x, self.q, into: q)
      step.linear(x, self.k, into: k)
      step.linear(x, self.v, into: v)
      let mixed = step.scratch.take(rows: x.rows, width: heads * headSize)
      for segment in step.segments {
        let (q, k, v) = (q.rows(segment.rows), k.rows(segment.rows), v.rows(segment.rows))
        let table = rope.table(forLength: segment.expectedLength)
        backend.rope(q, heads: heads, firstPosition: segment.position, table: table)
        backend.rope(k, heads: kvHeads, firstPosition: segment.position, table: table)
        backend.store(keys: k, values: v, in: segment.cache, layer: layer, position: segment.position)
        backend.attention(
          q, heads: heads, cache: segment.cache, layer: layer, firstPosition: segment.position,
          window: window, scale: 1 / Float(headSize).squareRoot(), into: mixed.rows(segment.rows),
          tokens: step.kind(of: segment))
      }
      step.linear(mixed, o, into: y, adding: true)
    }
  }
}
