import LimnFiles
import LimnCore
import LimnTensor

/// From the vision tower's features to the language model's embeddings: linear_2(gelu(linear_1(x))), with norms
/// between in some families.
struct Projector: Sendable {
  let inputNorm: LayerNorm?  // projector_layernorm, [vision hidden · feature layers]: VipLLaVA
  let linear1: Linear  // [text hidden, vision hidden · feature layers]
  let norm1: LayerNorm?  // [text hidden]: Yi-VL
  let activation: GELU
  let linear2: Linear  // [text hidden, text hidden]
  let norm2: LayerNorm?  // [text hidden]: Yi-VL

  /// features [rows, vision width] → embeddings [rows, text hidden]; the features are overwritten.
  func forward(_ features: Activations, into embeddings: Activations, _ step: Step) {
    step.scratch.frame {
      let inner = step.scratch.take(rows: features.rows, width: linear1.outputs)
      inputNorm?.forward(features, into: features, step)
      step.linear(features, linear1, into: inner)
      norm1?.forward(inner, into: inner, step)
      step.backend.gelu(inner, activation)
      step.linear(inner, linear2, into: embeddings)
      norm2?.forward(embeddings, into: embeddings, step)
    }
  }
}

extension Projector {
  init(_ config: ProjectorConfig, inputs: Int, outputs: Int, _ weights: inout WeightReader) throws(LimnError) {
    let prefix = "multi_modal_projector."
    func norm(_ name: String, _ width: Int, _ epsilon: Double?) throws(LimnError) -> LayerNorm? {
      guard let epsilon else { return nil }
      return try weights.layerNorm(prefix + name, width: width, epsilon: epsilon)
    }
    inputNorm = try norm("projector_layernorm", inputs, config.inputNorm)
    linear1 = try weights.linear(prefix + "linear_1", outputs: outputs, inputs: inputs)
    norm1 = try norm("norm_1", outputs, config.layerNorms)
    linear2 = try weights.linear(prefix + "linear_2", outputs: outputs, inputs: outputs)
    norm2 = try norm("norm_2", outputs, config.layerNorms)
    activation = config.activation
  }
}
