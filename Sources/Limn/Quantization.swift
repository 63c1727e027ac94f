import LimnFiles
import LimnCore
import LimnTensor

/// How linear layers are quantised while a model is opened: what a `BitsAndBytesConfig` says to transformers.
///
/// Embeddings, norms and convolutions stay as they are, and so does the output head.
public struct Quantization: Sendable {
  public enum Format: String, Sendable, CaseIterable {
    /// 4 bits, values at the quantiles of a normal distribution, a scale for every 64.
    case nf4
    /// 4 bits, tiny floats, a scale for every 64.
    case fp4
    /// LLM.int8: 8 bits, a scale for every output.
    case int8
  }

  public var format: Format
  /// For 4 bits: the scales are quantised too. In files that saves 0.4 bits a weight; in limn's memory nothing, where
  /// scales are floats: it gives the numbers that a model so trained (QLoRA) has seen.
  public var isDouble: Bool
  /// Modules to leave as they are: a name, several of its parts in a row, or its end ("vision_tower", "mlp.fc1").
  public var skip: [String]

  public init(_ format: Format, isDouble: Bool = false, skip: [String] = []) {
    self.format = format
    self.isDouble = isDouble
    self.skip = skip
  }
}

extension Quantization {
  /// Whether a weight of a linear layer, by its canonical name, is to be quantised.
  package func applies(to weight: String) -> Bool {
    let module = weight.hasSuffix(".weight") ? String(weight.dropLast(".weight".count)) : weight
    if module == "lm_head" { return false }
    return !skip.contains { name in
      let name = Self.canonical(name)
      return !name.isEmpty && (".\(module).".contains(".\(name).") || module.hasSuffix(name))
    }
  }

  /// The names that checkpoints of other layouts have for the same parts.
  private static func canonical(_ name: String) -> String {
    var name = name.hasPrefix("model.") ? String(name.dropFirst("model.".count)) : name
    if name == "mm_projector" { name = "multi_modal_projector" }
    for inner in [
      "language_model.model", "vision_tower.vision_model", "vision_tower.vision_tower.vision_model",
    ]
    where name == inner || name.hasPrefix(inner + ".") {
      name = (inner.hasPrefix("language") ? "language_model" : "vision_tower") + name.dropFirst(inner.count)
    }
    return name
  }

  /// - Throws: a weight that is quantised already.
  func quantized(
    _ tensor: Tensor, _ name: String, in reference: String, on cpu: CPU
  ) throws(LimnError) -> QuantizedWeight {
    guard [.f32, .f16, .bf16].contains(tensor.type) else {
      throw LimnError(
        .usage, "the tensor \(name) is quantised already", in: reference, expected: "F32, F16 or BF16",
        found: tensor.type.rawValue, remedy: "leave out \(.quantize), or name the unquantised model")
    }
    return switch format {
    case .nf4:
      .fourBit(try FourBitWeight(quantizing: tensor, as: .nf4, doubleQuantization: isDouble, on: cpu))
    case .fp4:
      .fourBit(try FourBitWeight(quantizing: tensor, as: .fp4, doubleQuantization: isDouble, on: cpu))
    case .int8: .int8(try Int8Weight(quantizing: tensor, on: cpu))
    }
  }
}
