import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite("Configs") struct ConfigTests {
  @Test("Hugging Face configs resolve as in transformers' AutoConfig")
  func huggingFace() throws {
    for example in try #require(try Fixtures.json("configs.json").array) {
      let about = example["about"]?.string ?? ""
      let expected = try #require(example["expected"])
      let config = try ModelConfig(json: try #require(example["config"]), place: about)
      let language = config.language
      #expect(language.architecture.rawValue == expected["architecture"]?.string, "\(about)")
      let numbers = [
        "hidden": language.hidden, "ffn": language.ffn, "layers": language.layers, "heads": language.heads,
        "kvHeads": language.kvHeads, "headSize": language.headSize, "vocabulary": language.vocabulary,
        "maxPositions": language.maxPositions, "rotaryDimensions": language.rotaryDimensions,
      ]
      for (name, value) in numbers { #expect(value == expected[name]?.int, "\(about): \(name)") }
      #expect(language.epsilon == expected["epsilon"]?.double, "\(about)")
      #expect(language.ropeTheta == expected["ropeTheta"]?.double, "\(about)")
      #expect(language.slidingWindow == expected["slidingWindow"]?.int, "\(about)")
      #expect(language.tiedEmbeddings == expected["tied"]?.bool, "\(about)")
      #expect(Self.type(language.ropeScaling) == expected["ropeType"]?.string, "\(about)")
      let vision = try #require(config.vision)
      #expect(
        [vision.hidden, vision.ffn, vision.layers, vision.heads, vision.imageSize, vision.patchSize]
          == expected["vision"]?.array?.compactMap(\.int), "\(about)")
      #expect(vision.activation == .quick && vision.epsilon == expected["visionEpsilon"]?.double, "\(about)")
      #expect(config.imageTokenID == expected["imageToken"]?.int, "\(about)")
      #expect(config.featureLayers == expected["featureLayers"]?.array?.compactMap(\.int), "\(about)")
      #expect(config.keepsClassToken == (expected["strategy"]?.string == "full"), "\(about)")
      let pinpoints = config.gridPinpoints.map { JSON.array([.integer($0.height), .integer($0.width)]) }
      #expect(JSON.array(pinpoints) == expected["pinpoints"], "\(about)")
    }
  }

  private static func type(_ scaling: LanguageConfig.RoPEScaling) -> String {
    switch scaling {
    case .none: "default"
    case .linear: "linear"
    case .dynamic: "dynamic"
    case .llama3: "llama3"
    case .longrope: "longrope"
    }
  }

  private func config(_ text: String) throws -> ModelConfig {
    try ModelConfig(json: try JSON.parse(text, place: "test"), place: "config.json")
  }

  @Test("the parameters of RoPE scaling are read")
  func scalings() throws {
    let small =
      #""hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 1"#
    #expect(
      try config(#"{"text_config": {\#(small), "rope_scaling": {"type": "linear", "factor": 4}}}"#).language
        .ropeScaling
        == .linear(4))
    #expect(
      try config(
        #"""
        {"text_config": {\#(small), "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 512}}}
        """#
      ).language.ropeScaling == .llama3(factor: 8, lowFrequency: 1, highFrequency: 4, original: 512))
    let factors = "[1,2,3,4,5,6,7,8]"
    let scaling = try config(
      #"""
      {"text_config": {"model_type": "phi3", \#(small), "max_position_embeddings": 1024,
      "original_max_position_embeddings": 256,
      "rope_scaling": {"type": "su", "short_factor": \#(factors), "long_factor": \#(factors)}}}
      """#
    ).language.ropeScaling
    guard case .longrope(let short, _, 256, let amplitude) = scaling else {
      throw LimnError.badData("\(scaling)")
    }
    #expect(short == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(scaling.isTheSameForAllLengths)
    #expect(
      !LanguageConfig.RoPEScaling.longrope(short: short, long: [1], original: 256, amplitude: 1).isTheSameForAllLengths)
    // √(1 + ln 4 / ln 256), transformers' attention factor.
    #expect(abs(amplitude - 1.118033988749895) < 1e-12)
  }

  @Test(
    "invalid sizes, wrong types and unknown variants are refused with the field's name",
    arguments: [
      (#"{"text_config": {"hidden_size": 0}}"#, "hidden"),
      (#"{"text_config": {"hidden_size": -64}}"#, "hidden"),
      (#"{"text_config": {"hidden_size": "64"}}"#, "hidden_size"),
      (#"{"text_config": {"num_attention_heads": 3}}"#, "num_attention_heads"),
      (#"{"text_config": {"num_attention_heads": 0}}"#, "num_attention_heads"),
      (#"{"text_config": {"num_key_value_heads": 5}}"#, "key and value heads"),
      (#"{"text_config": {"num_hidden_layers": 9223372036854775807}}"#, "layers"),
      (#"{"text_config": {"vocab_size": 1e300}}"#, "vocab_size"),
      (#"{"text_config": {"rope_theta": -1}}"#, "theta"),
      (#"{"text_config": {"rope_scaling": {"type": "yarn", "factor": 2}}}"#, "yarn"),
      (#"{"text_config": {"rope_scaling": {"type": "linear"}}}"#, "factor"),
      (#"{"text_config": {"model_type": "qwen2"}}"#, "qwen2"),
      (#"{"text_config": {"hidden_act": "relu"}}"#, "hidden_act"),
      (#"{"text_config": []}"#, "text_config"),
      (#"{"text_config": {"model_type": "phi", "partial_rotary_factor": 1.5}}"#, "partial_rotary_factor"),
      (#"{"text_config": {"head_dim": 7}}"#, "rotated"),
      (#"{"text_config": {}, "vision_config": {"model_type": "dinov2"}}"#, "dinov2"),
      (
        #"{"model_type": "mipha_gemma", "vision_config": {"vision_tower": {}}}"#, "mipha_phi"
      ),
      (
        #"""
        {"model_type": "mipha_phi", "vision_config": {"vision_tower": {"vision_model_name_or_path": "dinov2"}}}
        """#, "vision_model_name_or_path"
      ),
      (#"{"text_config": {}, "vision_config": {"patch_size": 0}}"#, "patch size"),
      (#"{"text_config": {}, "vision_config": {"image_size": [224, 336]}}"#, "image_size"),
      (#"{"text_config": {}, "vision_config": {"num_attention_heads": 5}}"#, "heads"),
      (#"{"text_config": {}, "vision_feature_select_strategy": "half"}"#, "vision_feature_select_strategy"),
      (#"{"text_config": {}, "image_token_index": 9223372036854775807}"#, "image_token_index"),
      (#"{"text_config": {}, "image_token_index": -1}"#, "image_token_index"),
      (#"{"text_config": {}, "image_token_id": 4194304}"#, "image_token_id"),
      (#"{"text_config": {}, "model_type": "llava_onevision"}"#, "llava_onevision"),
      (
        #"{"text_config": {}, "model_type": "llava_next", "image_grid_pinpoints": [[336]]}"#,
        "image_grid_pinpoints"
      ),
      (#"{"model_type": "gpt2"}"#, "gpt2"),
      (
        #"{"mm_vision_tower": "x", "model_type": "llava", "mm_projector_type": "linear"}"#,
        "mm_projector_type"
      ),
      (
        #"""
        {"mm_vision_tower": "x", "model_type": "llava", "mm_projector_type": "mlp2x_gelu",
        "image_aspect_ratio": "anyres_max_9", "mm_patch_merge_type": "spatial_unpad"}
        """#, "anyres_max_9"
      ),
      (
        #"""
        {"mm_vision_tower": "x", "model_type": "llava", "mm_projector_type": "mlp2x_gelu",
        "architectures": ["LlavaQwenForCausalLM"]}
        """#, "LlavaQwenForCausalLM"
      ),
      (
        #"{"mm_vision_tower": "x", "model_type": "llava_qwen", "mm_projector_type": "mlp2x_gelu"}"#,
        "llava_qwen"
      ),
    ])
  func refusals(text: String, says: String) throws {
    let error = #expect(throws: LimnError.self, "\(text)") { try config(text) }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  @Test("the original layout: the class names the language model, pinpoints are width before height")
  func original() throws {
    let text = #"""
      {"architectures": ["LlavaMistralForCausalLM"], "model_type": "llava_mistral", "mm_vision_tower": "openai/clip",
      "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "cls_patch",
      "image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad", "rms_norm_eps": 1e-5,
      "image_grid_pinpoints": [[336, 672], [1008, 336]], "sliding_window": null}
      """#
    let config = try config(text)
    #expect(config.language.architecture == .mistral && config.language.kvHeads == 8)
    #expect(config.language.slidingWindow == nil)
    #expect(config.family == .llavaNext && config.aspectPolicy == "anyres" && config.keepsClassToken)
    #expect(
      config.gridPinpoints.map(\.height) == [672, 336] && config.gridPinpoints.map(\.width) == [336, 1008])
    #expect(config.imageTokenID == nil)
  }

  @Test(
    "in the original layout, model_type decides if there is no class, and plain llava means Llama",
    arguments: [
      ("llava", LanguageConfig.Architecture.llama), ("llava_llama", .llama), ("llava_mistral", .mistral),
    ])
  func withoutClass(type: String, architecture: LanguageConfig.Architecture) throws {
    for aspect in ["null", #""pad""#, #""square""#] {
      let config = try config(
        #"""
        {"mm_vision_tower": "x", "model_type": "\#(type)", "mm_projector_type": "mlp2x_gelu",
        "architectures": null, "image_aspect_ratio": \#(aspect)}
        """#)
      #expect(config.language.architecture == architecture && config.family == .llava, "\(aspect)")
    }
  }

  @Test("Mipha and LLaVA-Phi: Phi-2 at the top level, the tower by name, CLIP's defaults for absent keys")
  func mipha() throws {
    func text(_ type: String, _ tower: String) -> String {
      #"""
      {"model_type": "\#(type)", "image_aspect_ratio": "pad", "vision_config": {
      "vision_tower": {"hidden_size": 1152, "num_attention_heads": 16, "mm_vision_select_layer": -3, \#(tower)},
      "mm_projector": {"mm_projector_type": "mlp2x_gelu"}}}
      """#
    }
    let mipha = try config(text("mipha_phi", #""vision_model_name_or_path": "google/siglip-so400m""#))
    #expect(mipha.language.architecture == .phi2 && mipha.imageTokenID == nil && mipha.aspectPolicy == "pad")
    let siglip = try #require(mipha.vision)
    #expect(siglip.family == .siglip && siglip.patchSize == 32 && siglip.epsilon == 1e-5)
    #expect(siglip.activation == .quick && mipha.keepsClassToken && mipha.featureLayers == [-3])
    let phi = try config(text("llava_phi", #""vision_model_name_or_path": "openai/clip-vit-large-patch14-336""#))
    #expect(phi.vision?.family == .clip && !phi.keepsClassToken)
  }

  @Test("VipLLaVA and SigLIP use the defaults of their classes")
  func otherDefaults() throws {
    let vip = try config(#"{"model_type": "vipllava", "text_config": {}}"#)
    #expect(vip.featureLayers == [-2, -5, -8, -11, 6] && vip.projector?.inputNorm == 1e-5)
    #expect(vip.vision?.layers == 24 && vip.imageTokenID == 32000)
    // The original code's image mark is not in any vocabulary.
    #expect(try config(#"{"text_config": {}, "image_token_index": -200}"#).imageTokenID == nil)
    let siglip = try config(#"{"text_config": {}, "vision_config": {"model_type": "siglip_vision_model"}}"#)
    #expect(siglip.vision?.patchSize == 16 && siglip.vision?.epsilon == 1e-6)
    #expect(siglip.vision?.activation == .tanh && siglip.vision?.hasClassToken == false)
  }
}
