// Llama, and its relatives that differ in numbers only: Vicuna, Llama 2 and 3, Mistral, and Phi-3.
//
// What is worth knowing:
// - pre-norm with RMSNorm, rotary positions, no biases unless the checkpoint has some
// - k and v may have fewer heads than q (Llama 3, Mistral)
// - Mistral and Phi-3 may attend to only a window of the past
// - Phi-3 stacks q, k, v in one matrix and gate, up in another: views of their rows separate them, nothing is copied
// - GGUF's `llama` rotates neighbours instead of halves, because its converter permuted the rows of q and k
//
// Llama: https://arxiv.org/abs/2302.13971, Mistral: https://arxiv.org/abs/2310.06825,
// Phi-3: https://arxiv.org/abs/2404.14219

import LimnCore
import LimnFiles
import LimnTensor

struct LlamaLayer: DecoderLayer {
  let inputNorm: RMSNorm  // input_layernorm
  let attention: Attention  // self_attn
  let postNorm: RMSNorm  // post_attention_layernorm
  let mlp: GatedMLP

  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?) {
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

extension LlamaLayer {
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

  static func finalNorm(_ config: LanguageConfig, _ weights: inout WeightReader) throws(LimnError) -> RMSNorm {
    try weights.rmsNorm("language_model.norm", width: config.hidden, epsilon: config.epsilon)
  }
}
