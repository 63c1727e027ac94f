import LimnCore
import LimnTensor

extension ModelConfig {
  /// Reads the config.json of the original LLaVA code: the language model's keys at the top level, and `mm_…` keys.
  /// The vision tower's config comes from elsewhere (`Checkpoint`).
  init(original fields: FieldReader) throws(LimnError) {
    language = try LanguageConfig(fields, try Self.architecture(fields))
    switch try fields.string("mm_projector_type") ?? "linear" {
    case "mlp2x_gelu": projector = ProjectorConfig(activation: .erf)
    case "mlp2x_gelu_Norm": projector = ProjectorConfig(activation: .erf, layerNorms: 1e-5)
    default: throw fields.wrong("mm_projector_type", expected: "mlp2x_gelu: limn runs no other projector")
    }
    featureLayers = [try fields.int("mm_vision_select_layer") ?? -2]
    switch try fields.string("mm_vision_select_feature") ?? "patch" {
    case "patch": keepsClassToken = false
    case "cls_patch": keepsClassToken = true
    default: throw fields.wrong("mm_vision_select_feature", expected: "patch or cls_patch")
    }
    aspectPolicy = try fields.string("image_aspect_ratio")
    switch aspectPolicy {
    case "anyres"?: break
    // Later code cuts images into tiles in these ways; no code gives any other value a meaning.
    case let policy? where ["anyres", "highres", "crop_split"].contains(where: policy.hasPrefix):
      throw fields.wrong("image_aspect_ratio", expected: "pad, square or anyres: limn cuts tiles in no other way")
    default: return
    }
    family = .llavaNext
    guard try fields.string("mm_patch_merge_type") == "spatial_unpad" else {
      throw fields.wrong("mm_patch_merge_type", expected: "spatial_unpad")
    }
    // This layout writes width before height.
    guard let points = try fields.pinpoints() else {
      throw fields.wrong("image_grid_pinpoints", expected: "pairs of width and height")
    }
    gridPinpoints = points.map { ($0.width, $0.height) }
  }

  /// The class name says which language model it is; `model_type` is often just "llava".
  private static func architecture(_ fields: FieldReader) throws(LimnError) -> LanguageConfig.Architecture {
    let type = try fields.string("model_type") ?? ""
    let name = (fields.json["architectures"]?.array?.first?.string ?? type).lowercased()
    for (word, architecture) in [
      ("mistral", LanguageConfig.Architecture.mistral), ("phi3", .phi3), ("phi", .phi2), ("llama", .llama),
    ] where name.contains(word) {
      return architecture
    }
    // "llava" alone meant Llama, but classes on other language models use it too.
    guard type == "llava", !fields.has("architectures") else {
      throw fields.wrong(
        fields.has("architectures") ? "architectures" : "model_type",
        expected: "Llama, Mistral, Phi-3 or Phi in its name: limn runs no other language model")
    }
    return .llama
  }
}
