package import LimnCore
import LimnTensor

extension VisionConfig {
  /// LlavaConfig's default if a config has no `vision_config`: CLIP-L/14 at 336 pixels.
  static let llavaDefault = VisionConfig(
    hidden: 1024, ffn: 4096, layers: 24, heads: 16, imageSize: 336, patchSize: 14, activation: .quick,
    epsilon: 1e-5)

  /// CLIPVisionConfig's defaults for keys that a `vision_config` leaves out.
  static let clipDefault = VisionConfig(
    hidden: 768, ffn: 3072, layers: 12, heads: 12, imageSize: 224, patchSize: 32, activation: .quick,
    epsilon: 1e-5)

  /// SiglipVisionConfig's defaults.
  static let siglipDefault = VisionConfig(
    family: .siglip, hidden: 768, ffn: 3072, layers: 12, heads: 12, imageSize: 224, patchSize: 16,
    activation: .tanh, epsilon: 1e-6)

  /// Reads the JSON of a CLIPVisionConfig or a SiglipVisionConfig.
  init(_ fields: FieldReader) throws(LimnError) {
    switch try fields.string("model_type") ?? "clip_vision_model" {
    case "clip_vision_model", "llava_phi_clip_vision_model": try self.init(fields, defaults: .clipDefault)
    case "siglip_vision_model": try self.init(fields, defaults: .siglipDefault)
    default:
      throw fields.wrong(
        "model_type",
        expected: "clip_vision_model or siglip_vision_model: limn runs no other vision tower")
    }
  }

  init(_ fields: FieldReader, defaults: VisionConfig) throws(LimnError) {
    self = defaults
    hidden = try fields.int("hidden_size") ?? hidden
    ffn = try fields.int("intermediate_size") ?? ffn
    layers = try fields.int("num_hidden_layers") ?? layers
    heads = try fields.int("num_attention_heads") ?? heads
    imageSize = try fields.side("image_size") ?? imageSize
    patchSize = try fields.side("patch_size") ?? patchSize
    activation = try fields.gelu("hidden_act") ?? activation
    epsilon = try fields.double("layer_norm_eps") ?? epsilon
    guard try fields.int("num_channels") ?? 3 == 3 else { throw fields.wrong("num_channels", expected: "3") }
    try check(fields.place)
  }
}

extension ModelConfig {
  /// Files that give token ids from here on are refused; the largest known vocabularies hold 300,000.
  package static let tokenIDLimit = 1 << 22

  /// Reads a config.json of any layout. The original layout configures its tower elsewhere; there `vision` stays nil.
  package init(json: JSON, place: String) throws(LimnError) {
    guard json.object != nil else {
      throw LimnError.badData("the config is wrong", in: place, expected: "an object", found: json.kind)
    }
    let fields = FieldReader(json: json, place: place)
    let type = try fields.string("model_type") ?? ""
    // model_type is "llava" in both layouts; only these keys distinguish them.
    if let parts = try Self.nestedVision(fields) {
      try self.init(nested: parts, fields)
    } else if fields.has("mm_vision_tower") {
      try self.init(original: fields)
    } else if fields.has("text_config") || type.hasPrefix("llava") || type == "vipllava" {
      try self.init(huggingFace: fields)
    } else {
      try self.init(languageModel: fields)
    }
  }

  /// Reads the config.json of LlavaForConditionalGeneration, LlavaNextForConditionalGeneration or
  /// VipLlavaForConditionalGeneration.
  init(huggingFace fields: FieldReader) throws(LimnError) {
    let type = try fields.string("model_type") ?? "llava"
    guard ["llava", "llava_next", "vipllava"].contains(type) else {
      throw fields.wrong("model_type", expected: "llava, llava_next or vipllava")
    }
    let text = try fields.object("text_config") ?? FieldReader(json: .object([:]), place: fields.place)
    let textType = try text.string("model_type") ?? "llama"
    guard let architecture = LanguageConfig.Architecture(modelType: textType) else {
      throw text.wrong(
        "model_type", expected: "llama, mistral, phi3 or phi: limn runs no other language model")
    }
    language = try LanguageConfig(text, architecture)
    if try fields.bool("tie_word_embeddings") == true { language.tiedEmbeddings = true }
    vision = .llavaDefault
    if let tower = try fields.object("vision_config") { vision = try VisionConfig(tower) }
    projector = ProjectorConfig(activation: try fields.gelu("projector_hidden_act") ?? .erf)
    imageTokenID = try fields.imageTokenID()
    featureLayers = try fields.ints("vision_feature_layer") ?? [-2]
    switch try fields.string("vision_feature_select_strategy") ?? "default" {
    case "default": keepsClassToken = false
    case "full": keepsClassToken = true
    default: throw fields.wrong("vision_feature_select_strategy", expected: "default or full")
    }
    if type == "vipllava" {
      projector?.inputNorm = try fields.double("projector_layernorm_eps") ?? 1e-5
      // The class used the older name until transformers 5.
      let older = try fields.ints("vision_feature_layers")
      featureLayers = try fields.ints("vision_feature_layer") ?? older ?? [-2, -5, -8, -11, 6]
      keepsClassToken = false
    }
    if type == "llava_next" {
      family = .llavaNext
      gridPinpoints =
        try fields.pinpoints()
        ?? [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
    }
  }

  /// Reads the config.json of a language model without vision.
  init(languageModel fields: FieldReader) throws(LimnError) {
    guard let type = try fields.string("model_type") else {
      throw LimnError.badData("the config says no model_type", in: fields.place)
    }
    guard let architecture = LanguageConfig.Architecture(modelType: type) else {
      throw fields.wrong("model_type", expected: "llava, llava_next, vipllava, llama, mistral, phi3 or phi")
    }
    language = try LanguageConfig(fields, architecture)
  }
}

extension FieldReader {
  /// The token that stands for an image; nil for the original code's −200, which is in no vocabulary.
  func imageTokenID() throws(LimnError) -> Int? {
    let field = try int("image_token_index") == nil ? "image_token_id" : "image_token_index"
    let id = try int(field) ?? 32000
    if id == -200 { return nil }
    guard (0..<ModelConfig.tokenIDLimit).contains(id) else {
      throw wrong(field, expected: "a token's id, 0 to \(ModelConfig.tokenIDLimit - 1)")
    }
    return id
  }

  /// Reads `image_grid_pinpoints`, pairs of height and width.
  func pinpoints() throws(LimnError) -> [(height: Int, width: Int)]? {
    guard let value = json.present("image_grid_pinpoints") else { return nil }
    var result: [(height: Int, width: Int)] = []
    for point in value.array ?? [] {
      guard let pair = point.array, pair.count == 2, let height = pair[0].int, let width = pair[1].int,
        (1...1 << 14).contains(height), (1...1 << 14).contains(width)
      else { throw wrong("image_grid_pinpoints", expected: "pairs of sizes") }
      result.append((height, width))
    }
    guard !result.isEmpty, result.count <= 1024 else {
      throw wrong("image_grid_pinpoints", expected: "pairs of sizes")
    }
    return result
  }
}
