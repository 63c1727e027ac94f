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
import LimnTensor

struct Phi2: LanguageModel {
  let config: LanguageConfig
  private let tables: TokenTables
  private let layers: [Phi2DecoderLayer]
  private let norm: LayerNorm  // final_layernorm

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

struct Phi2DecoderLayer: Sendable {
  let norm: LayerNorm  // input_layernorm
  let attention: Attention  // self_attn
  let mlp: MLP

  /// n = norm(x); x += attention(n) + mlp(n), in place; the last layer, only of the rows that are wanted.
  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations? = nil) {
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

extension Phi2 {
  init(_ config: LanguageConfig, _ weights: inout WeightReader, context: Int) throws(LimnError) {
    let rope = RoPE(config, context: context)
    var layers: [Phi2DecoderLayer] = []
    for index in 0..<config.layers {
      let prefix = "language_model.layers.\(index)"
      layers.append(
        Phi2DecoderLayer(
          norm: try weights.layerNorm(
            prefix + ".input_layernorm", width: config.hidden, epsilon: config.epsilon),
          attention: try Attention(prefix + ".self_attn", config, rope, &weights),
          mlp: MLP(
            fc1: try weights.linear(prefix + ".mlp.fc1", outputs: config.ffn, inputs: config.hidden),
            fc2: try weights.linear(prefix + ".mlp.fc2", outputs: config.hidden, inputs: config.ffn),
            activation: config.activation.gelu ?? .tanh)))
    }
    self.config = config
    self.layers = layers
    tables = try TokenTables(config, &weights)
    norm = try weights.layerNorm("language_model.norm", width: config.hidden, epsilon: config.epsilon)
  }
}
