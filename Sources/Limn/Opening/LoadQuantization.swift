import LimnFiles
import LimnCore
import LimnTensor

/// How to quantise linear layers while opening a model: what `BitsAndBytesConfig` is in transformers.
///
/// Embeddings, norms, convolutions and the output head stay as they are.
public struct LoadQuantization: Sendable {
  /// What weights are quantised to.
  public enum Format: String, Sendable, CaseIterable {
    /// 4 bits: values at the quantiles of a normal distribution, one scale for every 64 weights.
    case nf4
    /// 4 bits: tiny floats, one scale for every 64 weights.
    case fp4
    /// LLM.int8: 8 bits, one scale for every output.
    case int8
  }

  /// What weights are quantised to.
  public var format: Format
  /// For 4 bits: also quantise the scales. This saves 0.4 bits a weight in files, but nothing in limn's memory, where
  /// scales are floats. Its purpose is to give the numbers that a model trained this way (QLoRA) has seen.
  public var isDouble: Bool
  /// Modules to leave as they are: a name, several consecutive parts of it, or its end ("vision_tower", "mlp.fc1").
  public var skip: [String]

  /// Quantises to `format`, except for the modules to skip.
  public init(_ format: Format, isDouble: Bool = false, skip: [String] = []) {
    self.format = format
    self.isDouble = isDouble
    self.skip = skip
  }
}

extension LoadQuantization {
  /// Whether to quantise a linear layer's weight, given by its canonical name.
  package func applies(to weight: String) -> Bool {
    let module = weight.hasSuffix(".weight") ? String(weight.dropLast(".weight".count)) : weight
    if module == "lm_head" { return false }
    return !skip.contains { name in
      let name = Self.canonical(name)
      return !name.isEmpty && (".\(module).".contains(".\(name).") || module.hasSuffix(name))
    }
  }

  /// Translates names from checkpoints of other layouts.
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

  /// - Throws: wrong usage if the weight is already quantised.
  func quantized(
    _ tensor: Tensor, of weight: Weight, _ name: String, in reference: String, on cpu: CPU
  ) throws(LimnError) -> QuantizedWeight {
    guard [.f32, .f16, .bf16].contains(tensor.type), !weight.isQuantized else {
      throw LimnError(
        .usage, "the tensor \(name) is quantised already", in: reference, expected: "F32, F16 or BF16",
        found: weight.typeName, remedy: "leave out \(.quantize), or name the unquantised model")
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
