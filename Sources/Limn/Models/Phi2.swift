// Phi-2, the language model of LLaVA-Phi.
//
// What is unusual:
// - one LayerNorm per layer feeds attention and feed-forward in parallel: x + attention(n) + mlp(n)
// - only the first part of each head is rotated (32 of 80 values)
// - biases everywhere, the output head included; gelu_new in the feed-forward
// - q · k overflows float16; limn's scores are float32
//
// https://huggingface.co/microsoft/phi-2

import LimnFiles
import LimnCore
import LimnFiles
import LimnTensor

struct Phi2Layer: DecoderLayer {
  let norm: LayerNorm  // input_layernorm
  let attention: Attention  // self_attn
  let mlp: MLP

  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?) {
    step.scratch.frame {
      let normed = step.scratch.take(rows: x.rows, width: x.width)
      norm.forward(x, into: normed, step)
      attention.store(normed, layer: layer, step)
      step.narrowed(x, normed, to: wanted) { x, normed, step in
        attention.forward(normed, addingTo: x, layer: layer, step)
        mlp.forward(normed, into: x, adding: true, step)
      }
    }
  }
}

// MARK: Loading

extension Phi2Layer {
  init(_ prefix: String, _ config: LanguageConfig, _ rope: RoPE, _ weights: inout WeightReader)
    throws(LimnError)
  {
    norm = try weights.layerNorm(prefix + ".input_layernorm", width: config.hidden, epsilon: config.epsilon)
    attention = try Attention(prefix + ".self_attn", config, rope, &weights)
    mlp = MLP(
      fc1: try weights.linear(prefix + ".mlp.fc1", outputs: config.ffn, inputs: config.hidden),
      fc2: try weights.linear(prefix + ".mlp.fc2", outputs: config.hidden, inputs: config.ffn),
      activation: config.activation.gelu ?? .tanh)
  }

  static func finalNorm(_ config: LanguageConfig, _ weights: inout WeightReader) throws(LimnError) -> LayerNorm {
    try weights.layerNorm("language_model.norm", width: config.hidden, epsilon: config.epsilon)
  }
}
