import LimnTensor

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
  package var ggufMetadata: [(key: String, value: GGUFMetadata)] {
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
    // llama.cpp knows no such type and refuses the file.
    case .dynamic(let factor):
      metadata += [("rope.scaling.type", .string("dynamic")), ("rope.scaling.factor", .f32(factor))]
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

  /// Whether llama.cpp's projector `mlp` computes what this model computes. It reads the patches of each layer in
  /// ascending order, with one epsilon for all norms; where there is a tensor mm.3 it takes the projector for Yi-VL's.
  /// Its GELU is the tanh one, which stands for erf in all files of this kind.
  package var suitsLlamaCpp: Bool {
    guard let vision, let projector else { return true }
    let layers = absoluteFeatureLayers
    return projector.inputNorm == nil && projector.layerNorms ?? vision.epsilon == vision.epsilon
      && projector.activation != .quick && keepsClassToken == !vision.hasClassToken
      && zip(layers, layers.dropFirst()).allSatisfy { $0 < $1 }
  }

  /// The metadata of the projector's file, which limn and, unless the projector's type is limn's own, llama.cpp's mtmd
  /// read.
  /// - Parameters:
  ///   - colours: the mean and the deviation by which pictures are normalised.
  ///   - aspect: `image_aspect_ratio` of the original layout, for readers that have a choice.
  package func projectorMetadata(
    _ vision: VisionConfig, colours: (mean: [Double], std: [Double]), aspect: String?
  ) -> [(key: String, value: GGUFMetadata)] {
    let projector = projector ?? ProjectorConfig(activation: .erf)
    let type = suitsLlamaCpp ? GGUFProjector.plainType : GGUFProjector.ownType
    var metadata: [(key: String, value: GGUFMetadata)] = [
      ("clip.has_text_encoder", .bool(false)), ("clip.has_vision_encoder", .bool(true)),
      ("clip.has_llava_projector", .bool(true)), ("clip.projector_type", .string(type)),
      ("clip.use_gelu", .bool(vision.activation != .quick)), ("clip.use_silu", .bool(false)),
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
    } else if let aspect {
      metadata.append(("clip.vision.image_aspect_ratio", .string(aspect)))
    }
    return metadata + ownMetadata(vision, projector)
  }

  /// What the usual keys leave open, where it is not what readers assume.
  private func ownMetadata(
    _ vision: VisionConfig, _ projector: ProjectorConfig
  ) -> [(key: String, value: GGUFMetadata)] {
    var metadata: [(key: String, value: GGUFMetadata)] = []
    if vision.activation != .quick, vision.activation != GGUFProjector.usualGELU(vision.family) {
      metadata.append((GGUFProjector.visionActivation, .string(vision.activation.huggingFaceName)))
    }
    if projector.activation != .erf {
      metadata.append((GGUFProjector.activation, .string(projector.activation.huggingFaceName)))
    }
    if let epsilon = projector.inputNorm { metadata.append((GGUFProjector.inputNorm, .f32(epsilon))) }
    if let epsilon = projector.layerNorms, epsilon != vision.epsilon {
      metadata.append((GGUFProjector.layerNorms, .f32(epsilon)))
    }
    if keepsClassToken == vision.hasClassToken {
      metadata.append((GGUFProjector.keepsFirstFeature, .bool(keepsClassToken)))
    }
    return metadata.map { ("clip.\($0.key)", $0.value) }
  }
}

/// What limn adds to the metadata of projector files, under `clip.`. llama.cpp knows none of it: a file that it would
/// compute wrongly has a projector type of limn's own, which llama.cpp refuses.
enum GGUFProjector {
  static let plainType = "mlp"
  /// Yi-VL's, in files of other converters; llama.cpp has no such name, only the tensors tell it.
  static let normedType = "mlp_norm"
  static let ownType = "limn_mlp"

  /// GELUs by transformers' names.
  static let visionActivation = "limn.vision.activation"
  static let activation = "limn.projector.activation"
  /// Epsilons: of the norm before the projector, of those behind its layers.
  static let inputNorm = "limn.projector.input_norm_epsilon"
  static let layerNorms = "limn.projector.layer_norm_epsilon"
  /// Whether the first feature stays: the class token's, or where there is none the first patch's.
  static let keepsFirstFeature = "limn.vision.keeps_first_feature"

  /// What `use_gelu` means: SigLIP's is the tanh one, but erf in the CLIPs that have one.
  static func usualGELU(_ family: VisionConfig.Family) -> GELU { family == .siglip ? .tanh : .erf }
}
