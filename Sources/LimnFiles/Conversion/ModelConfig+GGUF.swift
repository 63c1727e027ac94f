package import LimnTensor

extension LanguageConfig {
  /// What GGUF calls the architecture: Mistral is a Llama there.
  package var ggufArchitecture: String {
    switch architecture {
    case .llama, .mistral: "llama"
    case .phi3: "phi3"
    case .phi2: "phi2"
    }
  }

  /// The metadata that says what this model is, for llama.cpp and for limn.
  /// - Throws: bad data for what GGUF has no keys for.
  package func ggufMetadata() throws(LimnError) -> [(key: String, value: GGUFMetadata)] {
    let prefix = ggufArchitecture
    let norm = architecture == .phi2 ? "layer_norm_epsilon" : "layer_norm_rms_epsilon"
    var metadata: [(key: String, value: GGUFMetadata)] = [
      ("context_length", .u32(maxPositions)), ("embedding_length", .u32(hidden)), ("block_count", .u32(layers)),
      ("feed_forward_length", .u32(ffn)), ("attention.head_count", .u32(heads)),
      ("attention.head_count_kv", .u32(kvHeads)), ("attention.key_length", .u32(headSize)),
      ("attention.value_length", .u32(headSize)), ("attention.\(norm)", .f32(epsilon)),
      ("rope.dimension_count", .u32(rotaryDimensions)), ("rope.freq_base", .f32(ropeTheta)),
      ("vocab_size", .u32(vocabulary)),
    ]
    if let slidingWindow { metadata.append(("attention.sliding_window", .u32(slidingWindow))) }
    switch ropeScaling {
    case .none, .llama3: break  // Llama 3.1's is a tensor of divisors.
    case .linear(let factor):
      metadata += [("rope.scaling.type", .string("linear")), ("rope.scaling.factor", .f32(factor))]
    case .longrope(_, _, let original, let amplitude):
      metadata += [
        ("rope.scaling.original_context_length", .u32(min(original, maxPositions))),
        ("rope.scaling.attn_factor", .f32(amplitude)),
      ]
    case .dynamic:
      throw LimnError.badData(
        "GGUF has no key for the dynamic scaling of RoPE that this model uses",
        remedy: "convert to hf, or ask the model as it is")
    }
    return metadata.map { ("\(prefix).\($0.key)", $0.value) }
  }
}

extension ModelConfig {
  /// After how many blocks the deepest feature is taken: the blocks behind it are not written.
  package var usedVisionLayers: Int { absoluteFeatureLayers.max() ?? 0 }

  /// `featureLayers` counted from the first: 0 is what enters the tower.
  var absoluteFeatureLayers: [Int] {
    let layers = vision?.layers ?? 0
    return featureLayers.map { $0 < 0 ? layers + 1 + $0 : $0 }
  }

  /// Refuses what `limn` reads but does not write: another tower than CLIP, projectors with norms.
  /// - Parameter place: what is to be written.
  package func requirePlainLlava(in place: String) throws(LimnError) {
    if let vision, vision.family != .clip {
      throw LimnError.badData(
        "\(place) cannot hold this vision tower", expected: VisionConfig.Family.clip.rawValue,
        found: vision.family.rawValue, remedy: "ask the model as it is")
    }
    guard projector?.inputNorm == nil, projector?.layerNorms == nil else {
      throw LimnError.badData(
        "\(place) cannot hold a projector with norms", expected: "two linear layers with a GELU between",
        remedy: "ask the model as it is")
    }
  }

  /// The metadata of the projector's file, which limn and llama.cpp's mtmd read.
  /// - Parameter colours: the mean and the deviation by which pictures are normalised.
  /// - Throws: bad data for what such a file cannot say.
  package func projectorMetadata(
    _ vision: VisionConfig, colours: (mean: [Double], std: [Double])
  ) throws(LimnError) -> [(key: String, value: GGUFMetadata)] {
    try requirePlainLlava(in: "a projector file of limn's")
    guard !keepsClassToken else {
      throw LimnError.badData(
        "a projector file cannot say that the class token's feature stays",
        expected: "vision_feature_select_strategy default", found: "full", remedy: "convert to hf")
    }
    guard projector?.activation == .erf, vision.activation != .tanh else {
      throw LimnError.badData(
        "a projector file cannot say which GELU this model has", expected: "gelu or quick_gelu",
        remedy: "convert to hf")
    }
    var metadata: [(key: String, value: GGUFMetadata)] = [
      ("clip.has_text_encoder", .bool(false)), ("clip.has_vision_encoder", .bool(true)),
      ("clip.has_llava_projector", .bool(true)), ("clip.projector_type", .string("mlp")),
      ("clip.use_gelu", .bool(vision.activation == .erf)), ("clip.use_silu", .bool(false)),
      ("clip.vision.image_size", .u32(vision.imageSize)), ("clip.vision.patch_size", .u32(vision.patchSize)),
      ("clip.vision.embedding_length", .u32(vision.hidden)),
      ("clip.vision.feed_forward_length", .u32(vision.ffn)), ("clip.vision.projection_dim", .u32(language.hidden)),
      ("clip.vision.block_count", .u32(usedVisionLayers)),
      ("clip.vision.attention.head_count", .u32(vision.heads)),
      ("clip.vision.attention.layer_norm_epsilon", .f32(vision.epsilon)),
      ("clip.vision.image_mean", .f32s(colours.mean.map(Float.init))),
      ("clip.vision.image_std", .f32s(colours.std.map(Float.init))),
      ("clip.vision.feature_layer", .i32s(absoluteFeatureLayers)),
    ]
    if family == .llavaNext {
      // Width before height, as in the original configs.
      metadata += [
        ("clip.vision.image_grid_pinpoints", .i32s(gridPinpoints.flatMap { [$0.width, $0.height] })),
        ("clip.vision.image_aspect_ratio", .string("anyres")),
        ("clip.vision.mm_patch_merge_type", .string("spatial_unpad")),
        ("clip.vision.image_crop_resolution", .u32(vision.imageSize)),
      ]
    }
    return metadata
  }
}
