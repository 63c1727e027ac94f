import LimnCore
import LimnFiles
import LimnTensor

/// The gated feed-forward of Llama: down(silu(gate(x)) · up(x)).
struct GatedMLP: Sendable {
  let gate: Linear  // [ffn, hidden]
  let up: Linear  // [ffn, hidden]
  let down: Linear  // [hidden, ffn]

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

// MARK: Loading

extension GatedMLP {
  /// Loads separate projections or a stacked one, whichever the checkpoint has.
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
