import LimnCore
import LimnFiles
import LimnTensor

/// Causal self-attention with rotary positions over a key/value cache; queries are grouped if kvHeads < heads.
struct Attention: Sendable {
  let q: Linear  // [heads · headSize, hidden]
  let k: Linear  // [kvHeads · headSize, hidden]
  let v: Linear  // [kvHeads · headSize, hidden]
  let o: Linear  // [hidden, heads · headSize]
  let heads: Int
  let kvHeads: Int
  let headSize: Int
  let rope: RoPE
  /// How many positions a token sees, including its own; nil: all up to its own.
  let window: Int?

  /// Beside quantised weights, the rounding of bfloat16 is too small to matter; beside floats it would be the largest.
  private var allowsBFloat16: Bool { q.weight.type.isQuantized }

  /// Writes the keys and values of x [tokens, hidden] to the caches of the step's segments.
  func store(_ x: Activations, layer: Int, _ step: Step) {
    step.scratch.frame {
      let k = step.scratch.take(rows: x.rows, width: kvHeads * headSize)
      let v = step.scratch.take(rows: x.rows, width: kvHeads * headSize)
      step.linear(x, self.k, into: k)
      step.linear(x, self.v, into: v)
      for segment in step.segments {
        let (k, v) = (k.rows(segment.rows), v.rows(segment.rows))
        rotate(k, heads: kvHeads, segment, step)
        step.backend.store(keys: k, values: v, in: segment.cache, layer: layer, position: segment.position)
      }
    }
  }

  /// y += o(attention(x)) over the caches, which must already hold x's own keys and values;
  /// x and y [tokens, hidden].
  func forward(_ x: Activations, addingTo y: Activations, layer: Int, _ step: Step) {
    step.scratch.frame {
      let q = step.scratch.take(rows: x.rows, width: heads * headSize)
      let mixed = step.scratch.take(rows: x.rows, width: heads * headSize)
      step.linear(x, self.q, into: q)
      for segment in step.segments {
        rotate(q.rows(segment.rows), heads: heads, segment, step)
        step.backend.attention(
          q.rows(segment.rows), heads: heads, cache: segment.cache, layer: layer, firstPosition: segment.position,
          window: window, scale: 1 / Float(headSize).squareRoot(), into: mixed.rows(segment.rows),
          phase: step.phase(of: segment), allowsBFloat16: allowsBFloat16)
      }
      step.linear(mixed, o, into: y, adding: true)
    }
  }

  private func rotate(_ x: Activations, heads: Int, _ segment: Segment, _ step: Step) {
    step.backend.rope(
      x, heads: heads, firstPosition: segment.position, table: rope.table(forLength: segment.expectedLength))
  }
}

// MARK: Loading

extension Attention {
  /// Loads separate projections or a stacked one, whichever the checkpoint has.
  init(_ prefix: String, _ config: LanguageConfig, _ rope: RoPE, _ weights: inout WeightReader)
    throws(LimnError)
  {
    let queries = config.heads * config.headSize
    let keys = config.kvHeads * config.headSize
    if weights.has(prefix + ".qkv_proj.weight") {
      let parts = try weights.stacked(
        prefix + ".qkv_proj", outputs: [queries, keys, keys], inputs: config.hidden)
      (q, k, v) = (parts[0], parts[1], parts[2])
    } else {
      q = try weights.linear(prefix + ".q_proj", outputs: queries, inputs: config.hidden)
      k = try weights.linear(prefix + ".k_proj", outputs: keys, inputs: config.hidden)
      v = try weights.linear(prefix + ".v_proj", outputs: keys, inputs: config.hidden)
    }
    o = try weights.linear(prefix + ".o_proj", outputs: config.hidden, inputs: queries)
    heads = config.heads
    kvHeads = config.kvHeads
    headSize = config.headSize
    self.rope = rope
    window = config.slidingWindow
  }
}
