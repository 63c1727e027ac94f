import LimnFiles
package import LimnTensor

/// A type of GGUF file. It decides the type of each tensor, as llama.cpp's `llama-quantize` does.
package enum GGUFMix: String, Sendable, CaseIterable {
  case f32, f16, bf16
  case q8_0 = "Q8_0"
  case q6_K = "Q6_K"
  case q5_K_M = "Q5_K_M"
  case q5_K_S = "Q5_K_S"
  case q5_1 = "Q5_1"
  case q5_0 = "Q5_0"
  case q4_K_M = "Q4_K_M"
  case q4_K_S = "Q4_K_S"
  case q4_0 = "Q4_0"
  case iq4_NL = "IQ4_NL"
  case iq4_XS = "IQ4_XS"
  case q3_K_L = "Q3_K_L"
  case q3_K_M = "Q3_K_M"
  case q3_K_S = "Q3_K_S"
  case q2_K = "Q2_K"

  /// Finds a format by name, in upper or lower case; `Q4_K` and the like are the medium mixes.
  package init?(name: String) {
    let name = name.uppercased()
    guard let format = Self.allCases.first(where: { [name, name + "_M"].contains($0.rawValue.uppercased()) }) else {
      return nil
    }
    self = format
  }

  /// The type of most matrices.
  package var base: TensorType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    case .q8_0: .q8_0
    case .q6_K: .q6_K
    case .q5_K_M, .q5_K_S: .q5_K
    case .q5_1: .q5_1
    case .q5_0: .q5_0
    case .q4_K_M, .q4_K_S: .q4_K
    case .q4_0: .q4_0
    case .iq4_NL: .iq4_NL
    case .iq4_XS: .iq4_XS
    case .q3_K_L, .q3_K_M, .q3_K_S: .q3_K
    case .q2_K: .q2_K
    }
  }

  var isQuantized: Bool { base.layout.elements > 1 }

  /// `general.file_type`
  var fileType: Int {
    switch self {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q8_0: 7
    case .q5_0: 8
    case .q5_1: 9
    case .q2_K: 10
    case .q3_K_S: 11
    case .q3_K_M: 12
    case .q3_K_L: 13
    case .q4_K_S: 14
    case .q4_K_M: 15
    case .q5_K_S: 16
    case .q5_K_M: 17
    case .q6_K: 18
    case .iq4_NL: 25
    case .iq4_XS: 30
    case .bf16: 32
    }
  }

  // MARK: Language models

  /// What of a language model decides the types of its tensors.
  package struct Model {
    /// How many layers it has.
    package var layers: Int
    /// How many query heads share keys and values.
    package var headGroups: Int
    /// Whether the embedding table is also the output head.
    package var isTied: Bool

    package init(layers: Int, headGroups: Int, isTied: Bool) {
      (self.layers, self.headGroups, self.isTied) = (layers, headGroups, isTied)
    }
  }

  /// The type of a language model's tensor.
  /// - Parameter name: the tensor's name in GGUF.
  package func type(of name: String, shape: [Int], in model: Model) -> TensorType {
    guard shape.count > 1, name.hasSuffix(".weight"), !name.hasSuffix("_norm.weight") else { return .f32 }
    guard isQuantized else { return base }
    var type = base
    let parts = name.split(separator: ".")
    if name == "output.weight" || model.isTied && name == "token_embd.weight" {
      // An error here goes straight into the logits.
      if type != .q8_0 { type = shape[shape.count - 1] % type.layout.elements == 0 ? .q6_K : .q8_0 }
    } else if parts.count > 2, let layer = Int(parts[1]) {
      type = better(parts[2], layer, model) ?? base
      // Few heads of keys and values in a large model: more bits for them cost little.
      let isLarge = model.layers == 80 && model.headGroups > 1
      if Self.isValue(parts[2]), isLarge, type == .q3_K || type == .q4_K { type = .q5_K }
    }
    return Self.fitting(type, columns: shape[shape.count - 1])
  }

  private static func isValue(_ part: Substring) -> Bool { part == "attn_v" || part == "attn_qkv" }

  /// The type of a matrix in which errors do more harm than elsewhere; nil: like most.
  private func better(_ part: Substring, _ layer: Int, _ model: Model) -> TensorType? {
    let (isValue, isDown, isOutput) = (Self.isValue(part), part == "ffn_down", part == "attn_output")
    let isEarly = layer < model.layers / 8
    switch self {
    case .q4_K_M, .q5_K_M:
      return (isValue || isDown) && Self.getsMoreBits(layer, of: model.layers) ? .q6_K : nil
    case .q4_K_S:
      return isValue && layer < 4 || isDown && isEarly ? .q5_K : nil
    case .iq4_NL, .iq4_XS:
      return isValue && model.headGroups >= 4 || isDown && isEarly ? .q5_K : nil
    case .q3_K_L:
      return isValue || isDown || isOutput ? .q5_K : nil
    case .q3_K_M:
      if isValue { return layer < 2 ? .q5_K : .q4_K }
      if isDown { return layer < model.layers / 16 ? .q5_K : .q4_K }
      return isOutput ? .q4_K : nil
    case .q2_K:
      if isValue { return model.headGroups >= 4 ? .q4_K : .q3_K }
      return isDown || isOutput ? .q3_K : nil
    default: return nil
    }
  }

  /// The first and the last eighth of the layers, and every third one in between.
  private static func getsMoreBits(_ layer: Int, of layers: Int) -> Bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
  }

  /// The type itself, or one with smaller blocks if the rows do not fill whole blocks.
  private static func fitting(_ type: TensorType, columns: Int) -> TensorType {
    if columns % type.layout.elements == 0 { return type }
    let smaller: [TensorType: TensorType] = [
      .q2_K: .q4_0, .q3_K: .q4_0, .q4_K: .q5_0, .q5_K: .q5_1, .q6_K: .q8_0, .iq4_XS: .iq4_NL,
    ]
    guard let other = smaller[type], columns % other.layout.elements == 0 else { return .f16 }
    return other
  }

  // MARK: Projector files

  /// The type of a tensor of the vision tower or the projector. Patch and position embeddings stay floats: the former
  /// are a convolution, the latter are added unchanged.
  package func visionType(of name: String, shape: [Int]) -> TensorType {
    guard shape.count > 1, name.hasSuffix(".weight") else { return .f32 }
    guard name.hasPrefix("v.blk.") || name.hasPrefix("mm.") else {
      return isQuantized || self == .f16 ? .f16 : .f32
    }
    return Self.fitting(base, columns: shape[shape.count - 1])
  }
}
