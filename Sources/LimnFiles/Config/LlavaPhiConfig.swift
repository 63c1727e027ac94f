import LimnCore
import LimnTensor

// Mipha and LLaVA-Phi: the language model's keys at the top level, and `vision_config` with two parts:
//
//     "vision_config": {"vision_tower": {…, "vision_model_name_or_path", "mm_vision_select_layer"},
//                       "mm_projector": {"mm_projector_type", …}}
//
// The checkpoint includes the fine-tuned tower. https://arxiv.org/abs/2403.06199

extension ModelConfig {
  /// The two parts of such a `vision_config`; nil for any other layout.
  static func nestedVision(
    _ fields: FieldReader
  ) throws(LimnError) -> (tower: FieldReader, projector: FieldReader)? {
    guard let vision = try? fields.object("vision_config"), let tower = try vision.object("vision_tower") else {
      guard fields.json["model_type"]?.string == "llava_phi" else { return nil }
      throw fields.wrong("vision_config", expected: "vision_tower and mm_projector")
    }
    let none = FieldReader(json: .object([:]), place: vision.place)
    return (tower, try vision.object("mm_projector") ?? none)
  }

  init(
    nested parts: (tower: FieldReader, projector: FieldReader), _ fields: FieldReader
  ) throws(LimnError) {
    let type = try fields.string("model_type") ?? ""
    let isMipha = type.hasPrefix("mipha")
    guard !isMipha || type == "mipha_phi" else {
      throw fields.wrong("model_type", expected: "mipha_phi or llava_phi: limn runs no other of this family")
    }
    language = try LanguageConfig(fields, .phi2)
    // A Mipha tower's type follows from its name; absent keys take CLIP's defaults for any type.
    let name = try parts.tower.string("vision_model_name_or_path") ?? "clip"
    var vision = try VisionConfig(parts.tower, defaults: .clipDefault)
    if isMipha, !name.contains("clip") {
      guard name.contains("siglip") else {
        throw parts.tower.wrong("vision_model_name_or_path", expected: "a CLIP or a SigLIP")
      }
      vision.family = .siglip
    }
    self.vision = vision
    let kind = try parts.projector.string("mm_projector_type") ?? "linear"
    guard kind == "mlp2x_gelu" else {
      throw parts.projector.wrong(
        "mm_projector_type", expected: "mlp2x_gelu: limn runs no other projector")
    }
    projector = ProjectorConfig(activation: .erf)
    featureLayers = [try parts.tower.int("mm_vision_select_layer") ?? -2]
    let feature = try parts.tower.string("mm_vision_select_feature") ?? "patch"
    guard feature == "patch" || feature == "cls_patch" else {
      throw parts.tower.wrong("mm_vision_select_feature", expected: "patch or cls_patch")
    }
    keepsClassToken = feature == "cls_patch" || vision.family == .siglip
    aspectPolicy = try fields.string("image_aspect_ratio")
  }
}

extension CanonicalWeights {
  /// Phi before transformers 4.37 interleaved its projections by head: the rows of `query_key_value` are
  /// [head][q, k, v][headSize]. This reorders them as `qkv_proj`, [q, k, v][head][headSize].
  /// - Throws: bad data if the projection is quantised, or does not fit the config's heads.
  mutating func regroupFusedHeads(_ config: LanguageConfig, _ source: String) throws(LimnError) {
    for (name, fused) in weights where name.contains(".query_key_value.") {
      guard fused.type.layout.elements == 1, !fused.isQuantized else {
        throw LimnError.badData(
          "tensor \(name) stacks q, k and v head by head, and is quantised", in: source,
          expected: "F32, F16 or BF16", found: fused.typeName,
          remedy: "open the unquantised original, with \(.quantize)")
      }
      guard config.kvHeads == config.heads, fused.shape.first == 3 * config.heads * config.headSize else {
        throw LimnError.badData(
          "tensor \(name) has another shape", in: source,
          expected: "\(3 * config.heads * config.headSize) rows", found: "\(fused.shape)",
          remedy: "the config and the weights are of different models; fetch both again")
      }
      let rows = (0..<3).flatMap { part in
        (0..<config.heads).flatMap { head in
          (0..<config.headSize).map { Int32((3 * head + part) * config.headSize + $0) }
        }
      }
      rename(name, to: name.replacing(".query_key_value.", with: ".qkv_proj."), rows: rows)
    }
  }
}
