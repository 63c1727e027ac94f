import LimnFiles
import LimnTensor

/// From the vision tower's features to the language model's embeddings: linear_2(gelu(linear_1(x))).
struct Projector: Sendable {
  let linear1: Linear  // [text hidden, vision hidden · feature layers]
  let linear2: Linear  // [text hidden, text hidden]
  let activation: GELU

  /// features [rows, vision width] → embeddings [rows, text hidden].
  func forward(_ features: Activations, into embeddings: Activations, _ step: Step) {
    MLP(fc1: linear1, fc2: linear2, activation: activation)
      .forward(features, into: embeddings, adding: false, step)
  }
}

extension Projector {
  init(_ config: ProjectorConfig, inputs: Int, outputs: Int, _ weights: inout WeightReader) throws(LimnError)
  {
    linear1 = try weights.linear("multi_modal_projector.linear_1", outputs: outputs, inputs: inputs)
    linear2 = try weights.linear("multi_modal_projector.linear_2", outputs: outputs, inputs: outputs)
    activation = config.activation
  }
}
