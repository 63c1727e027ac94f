import LimnTensor

extension ModelConfig {
  /// LLaVA-Phi nests tower and projector in `vision_config` and has Phi's keys at the top level.
  static func isLlavaPhi(_ fields: ConfigReader) -> Bool {
    let type = fields.json["model_type"]?.string ?? ""
    let isNested = fields.json["vision_config"]?["vision_tower"]?.object != nil
    return type == "llava_phi" || isNested && !type.hasPrefix("mipha")
  }

  /// From the config.json of LLaVA-Phi: {…, vision_config: {vision_tower: {…}, mm_projector: {…}}}.
  init(llavaPhi fields: ConfigReader) throws(LimnError) {
    language = try LanguageConfig(fields, .phi2)
    guard let vision = try fields.object("vision_config"), let tower = try vision.object("vision_tower"),
      let projector = try vision.object("mm_projector")
    else { throw fields.wrong("vision_config", expected: "vision_tower and mm_projector") }
    self.vision = try VisionConfig(tower)
    guard try projector.string("mm_projector_type") == "mlp2x_gelu" else {
      throw projector.wrong("mm_projector_type", expected: "mlp2x_gelu: limn runs no other projector")
    }
    self.projector = ProjectorConfig(activation: .erf)
    featureLayers = [try tower.int("mm_vision_select_layer") ?? -2]
    switch try tower.string("mm_vision_select_feature") ?? "patch" {
    case "patch": keepsClassToken = false
    case "cls_patch": keepsClassToken = true
    default: throw tower.wrong("mm_vision_select_feature", expected: "patch or cls_patch")
    }
    aspectPolicy = try fields.string("image_aspect_ratio")
  }
}

extension CanonicalTensors {
  /// Phi before transformers 4.37 stacked its projections head by head: `query_key_value` rows are
  /// [head][q, k, v][headSize]. They become `qkv_proj`, [q, k, v][head][headSize], in memory of their own.
  mutating func regroupFusedHeads(_ config: LanguageConfig, _ source: String) throws(LimnError) {
    for name in tensors.keys where name.contains(".query_key_value.") {
      guard let fused = tensors[name] else { continue }
      guard config.kvHeads == config.heads, fused.shape.first == 3 * config.heads * config.headSize,
        fused.type.layout.elements == 1
      else {
        throw LimnError.badData(
          "tensor \(name) has another shape", in: source,
          expected: "\(3 * config.heads * config.headSize) rows", found: "\(fused.shape)",
          remedy: "the config and the weights are of different models; fetch both again")
      }
      // One head's part of q, of k or of v.
      let bytes = fused.range.count / (3 * config.heads)
      let memory = try Memory(count: fused.range.count) { target in
        for head in 0..<config.heads {
          for part in 0..<3 {
            (target.baseAddress! + (part * config.heads + head) * bytes).copyMemory(
              from: fused.bytes.baseAddress! + (3 * head + part) * bytes, byteCount: bytes)
          }
        }
      }
      let regrouped = Tensor(
        type: fused.type, shape: fused.shape, memory: memory, range: 0..<memory.bytes.count)
      remove(name)
      set(name.replacing(".query_key_value.", with: ".qkv_proj."), regrouped)
    }
  }
}
