import LimnTensor

/// Normalises each row; y may be x.
protocol Norm: Sendable {
  func forward(_ x: Activations, into y: Activations, _ step: Step)
}

/// x / √(mean(x²) + epsilon) · weight
struct RMSNorm: Norm {
  let weight: Vector  // [hidden]
  let epsilon: Float

  func forward(_ x: Activations, into y: Activations, _ step: Step) {
    step.backend.rmsNorm(x, weight: weight, epsilon: epsilon, into: y)
  }
}

/// (x − mean) / √(variance + epsilon) · weight + bias
struct LayerNorm: Norm {
  let weight: Vector  // [hidden]
  let bias: Vector  // [hidden]
  let epsilon: Float

  func forward(_ x: Activations, into y: Activations, _ step: Step) {
    step.backend.layerNorm(x, weight: weight, bias: bias, epsilon: epsilon, into: y)
  }
}
