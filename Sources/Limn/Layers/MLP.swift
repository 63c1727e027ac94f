import LimnTensor

/// The gated feed-forward of Llama: down(silu(gate(x)) · up(x)).
struct GatedMLP: Sendable {
  let gate: Linear  // [ffn, hidden]
  let up: Linear  // [ffn, hidden]
  let down: Linear  // [hidden, ffn]

  var matrices: [Matrix] { [gate, up, down].map(\.weight) }

  /// y += mlp(x); x and y [tokens, hidden].
  func forward(_ x: Activations, addingTo y: Activations, _ step: Step) {
    step.scratch.frame {
      let gated = step.scratch.take(rows: x.rows, width: gate.outputs)
      let raised = step.scratch.take(rows: x.rows, width: up.outputs)
      step.linear(x, gate, into: gated)
      step.linear(x, up, into: raised)
      step.backend.siluMultiply(gated, raised)
      step.linear(gated, down, into: y, adding: true)
    }
  }
}

/// The plain feed-forward of CLIP and Phi-2: fc2(gelu(fc1(x))).
struct MLP: Sendable {
  let fc1: Linear  // [ffn, hidden]
  let fc2: Linear  // [hidden, ffn]
  let activation: GELU

  var matrices: [Matrix] { [fc1, fc2].map(\.weight) }

  /// y += mlp(x), or y = mlp(x); x [rows, hidden].
  func forward(_ x: Activations, into y: Activations, adding: Bool, _ step: Step) {
    step.scratch.frame {
      let inner = step.scratch.take(rows: x.rows, width: fc1.outputs)
      step.linear(x, fc1, into: inner)
      step.backend.gelu(inner, activation)
      step.linear(inner, fc2, into: y, adding: adding)
    }
  }
}
