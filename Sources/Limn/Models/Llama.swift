// Llama: Vicuna, Llama 2 and 3, Mistral, and Phi-3, which differ in numbers only.
//
// What is worth knowing:
// - pre-norm with RMSNorm, rotary positions, no biases unless the checkpoint brings some
// - k and v may have fewer heads than q (Llama 3, Mistral)
// - Mistral and Phi-3 may see a window of the past only
// - Phi-3 stacks q, k, v in one matrix and gate, up in another: their rows are told apart, nothing is copied
// - GGUF's `llama` rotates neighbours instead of halves, because its converter permuted the rows of q and k
//
// Llama: https://arxiv.org/abs/2302.13971, Mistral: https://arxiv.org/abs/2310.06825,
// Phi-3: https://arxiv.org/abs/2404.14219

import LimnFiles
import LimnCore
import LimnTensor

struct Llama: LanguageModel {
  let config: LanguageConfig
  private let tables: TokenTables
  private let layers: [LlamaDecoderLayer]
  private let norm: RMSNorm

  var embeddings: Matrix { tables.embeddings }
  var matrices: [[Matrix]] { layers.map { $0.attention.matrices + $0.mlp.matrices } }
  var head: Matrix { tables.head.weight }

  func forward(_ x: Activations, into hidden: Activations, _ step: Step) {
    for (index, layer) in layers.dropLast().enumerated() { layer.forward(x, layer: index, step) }
    layers.last?.forward(x, layer: layers.count - 1, step, wanted: hidden)
  }

  func logits(_ hidden: Activations, into logits: Activations, _ step: Step) {
    tables.logits(hidden, norm, into: logits, step)
  }
}

struct LlamaDecoderLayer: Sendable {
  let inputNorm: RMSNorm  // input_layernorm
  let attention: Attention  // self_attn
  let postNorm: RMSNorm  // post_attention_layernorm
  let mlp: GatedMLP

  /// x += attention(norm(x)); x += mlp(norm(x)), in place; the last layer, only of the rows that are wanted.
  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations? = nil) {
    step.scratch.frame {
      let normed = step.scratch.take(rows: x.rows, width: x.width)
      inputNorm.forward(x, into: normed, step)
      attention.store(normed, layer: layer, step)
      step.narrowed(x, normed, to: wanted) { x, normed, step in
        attention.forward(normed, addingTo: x, layer: layer, step)
        postNorm.forward(x, into: normed, step)
        mlp.forward(normed, addingTo: x, step)
      }
    }
  }
}

// MARK: Loading

extension Llama {
  init(_ config: LanguageConfig, _ weights: inout WeightReader, context: Int) throws(LimnError) {
    let rope = RoPE(config, context: context)
    var layers: [LlamaDecoderLayer] = []
    for index in 0..<config.layers {
      layers.append(
        try LlamaDecoderLayer("language_model.layers.\(index)", config, rope, &weights))
    }
    self.config = config
    self.layers = layers
    tables = try TokenTables(config, &weights)
    norm = try weights.rmsNorm("language_model.norm", width: config.hidden, epsilon: config.epsilon)
  }
}

extension LlamaDecoderLayer {
  init(_ prefix: String, _ config: LanguageConfig, _ rope: RoPE, _ weights: inout WeightReader)
    throws(LimnError)
  {
    inputNorm = try weights.rmsNorm(
      prefix + ".input_layernorm", width: config.hidden, epsilon: config.epsilon)
    attention = try Attention(prefix + ".self_attn", config, rope, &weights)
    postNorm = try weights.rmsNorm(
      prefix + ".post_attention_layernorm", width: config.hidden, epsilon: config.epsilon)
    mlp = try GatedMLP(prefix + ".mlp", config, &weights)
  }
}

extension Attention {
  /// Split projections or a stacked one, whichever the checkpoint has.
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

extension GatedMLP {
  /// Split projections or a stacked one, whichever the checkpoint has.
  init(_ prefix: String, _ config: LanguageConfig, _ weights: inout WeightReader) throws(LimnError) {
    if weights.has(prefix + ".gate_up_proj.weight") {
      let parts = try weights.stacked(
        prefix + ".gate_up_proj", outputs: [config.ffn, config.ffn], inputs: config.hidden)
      (gate, up) = (parts[0], parts[1])
    } else {
      gate = try weights.linear(prefix + ".gate_proj", outputs: config.ffn, inputs: config.hidden)
      up = try weights.linear(prefix + ".up_proj", outputs: config.ffn, inputs: config.hidden)
    }
    down = try weights.linear(prefix + ".down_proj", outputs: config.hidden, inputs: config.ffn)
  }
}
