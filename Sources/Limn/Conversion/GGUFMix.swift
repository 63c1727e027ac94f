import LimnFiles
package import LimnTensor

/// A type of GGUF file. It decides the type of each tensor, as llama.cpp's `llama-quantize` does.
package enum GGUFMix: String, Sendable, CaseIterable {
  case f32, f16, bf16
  case q8_0 = "Q8_0"
  case q6_K = "Q6_K"
  case q5_K_M = "Q5_K_M"
  case q4_K_M = "Q4_K_M"
  case q4_0 = "Q4_0"

  /// Finds a format by name, in upper or lower case.
  package init?(name: String) {
    guard let format = Self.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() }) else {
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
    case .q5_K_M: .q5_K
    case .q4_K_M: .q4_K
    case .q4_0: .q4_0
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
    case .q4_K_M: 15
    case .q5_K_M: 17
    case .q6_K: 18
    case .bf16: 32
    }
  }

  // MARK: Language models

  /// The type of a language model's tensor.
  /// - Parameters:
  ///   - name: the tensor's name in GGUF.
  ///   - layers: how many layers the model has.
  ///   - isTied: whether the embedding table is also the output head.
  package func type(of name: String, shape: [Int], layers: Int, isTied: Bool) -> TensorType {
    guard shape.count > 1, name.hasSuffix(".weight"), !name.hasSuffix("_norm.weight") else { return .f32 }
    guard isQuantized else { return base }
    var type = base
    let parts = name.split(separator: ".")
    if name == "output.weight" || isTied && name == "token_embd.weight" {
      // An error here goes straight into the logits.
      if type != .q8_0 { type = shape[shape.count - 1] % type.layout.elements == 0 ? .q6_K : .q8_0 }
    } else if self == .q4_K_M || self == .q5_K_M, parts.count > 2, let layer = Int(parts[1]),
      ["attn_v", "attn_qkv", "ffn_down"].contains(parts[2]), Self.getsMoreBits(layer, of: layers)
    {
      type = .q6_K
    }
    return Self.fitting(type, columns: shape[shape.count - 1])
  }

  /// The first and the last eighth of the layers, and every third one in between.
  private static func getsMoreBits(_ layer: Int, of layers: Int) -> Bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
  }

  /// The type itself, or one with smaller blocks if the rows do not fill whole blocks.
  private static func fitting(_ type: TensorType, columns: Int) -> TensorType {
    if columns % type.layout.elements == 0 { return type }
    let smaller: [TensorType: TensorType] = [.q4_K: .q5_0, .q5_K: .q5_1, .q6_K: .q8_0]
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
