import LimnTensor

// Mipha and LLaVA-Phi: the language model's keys at the top level, and `vision_config` with two parts:
//
//     "vision_config": {"vision_tower": {…, "vision_model_name_or_path", "mm_vision_select_layer"},
//                       "mm_projector": {"mm_projector_type", …}}
//
// The tower lies inside the checkpoint, fine-tuned. https://arxiv.org/abs/2403.06199

extension ModelConfig {
  /// The two parts of such a `vision_config`; nil where the config is of another layout.
  static func nestedVision(
    _ fields: ConfigReader
  ) throws(LimnError) -> (tower: ConfigReader, projector: ConfigReader)? {
    guard fields.json["vision_config"]?["vision_tower"]?.object != nil,
      let vision = try fields.object("vision_config"), let tower = try vision.object("vision_tower")
    else { return nil }
    let none = ConfigReader(json: .object([:]), place: vision.place)
    return (tower, try vision.object("mm_projector") ?? none)
  }

  init(
    nested parts: (tower: ConfigReader, projector: ConfigReader), _ fields: ConfigReader
  ) throws(LimnError) {
    let type = try fields.string("model_type") ?? ""
    guard type == "mipha_phi" || type == "llava_phi" else {
      throw fields.wrong("model_type", expected: "mipha_phi or llava_phi: limn runs no other of this family")
    }
    language = try LanguageConfig(fields, .phi2)
    // The name decides which tower it is; keys that are absent have CLIP's defaults all the same.
    let name = try parts.tower.string("vision_model_name_or_path") ?? "clip"
    var vision = try VisionConfig(parts.tower, defaults: .clipDefault)
    if !name.contains("clip") {
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
