import LimnTensor

extension LanguageConfig {
  /// The architecture's name in GGUF, where a Mistral is a Llama.
  package var ggufArchitecture: String {
    switch architecture {
    case .llama, .mistral: "llama"
    case .phi3: "phi3"
    case .phi2: "phi2"
    }
  }

  /// The metadata that describes this model to llama.cpp and to limn.
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
    case .none, .llama3: break  // Llama 3.1's scaling is stored as a tensor of divisors.
    case .linear(let factor):
      metadata += [("rope.scaling.type", .string("linear")), ("rope.scaling.factor", .f32(factor))]
    case .longrope(_, _, let original, let amplitude):
      metadata += [
        ("rope.scaling.original_context_length", .u32(min(original, maxPositions))),
        ("rope.scaling.attn_factor", .f32(amplitude)),
      ]
    // llama.cpp does not know this type and refuses the file.
    case .dynamic(let factor):
      metadata += [("rope.scaling.type", .string("dynamic")), ("rope.scaling.factor", .f32(factor))]
    }
    return metadata.map { ("\(prefix).\($0.key)", $0.value) }
  }
}

extension ModelConfig {
  /// The number of blocks up to the deepest feature; later blocks are not written.
  package var usedVisionLayers: Int { absoluteFeatureLayers.max() ?? 0 }

  /// `featureLayers`, all counted from the front: 0 is the tower's input.
  var absoluteFeatureLayers: [Int] {
    let layers = vision?.layers ?? 0
    return featureLayers.map { $0 < 0 ? layers + 1 + $0 : $0 }
  }

  /// Whether llama.cpp's projector `mlp` computes what this model computes. It reads the patches of each layer in
  /// ascending order and uses one epsilon for all norms; it takes a projector with a tensor mm.3 for Yi-VL's. Its
  /// GELU is the tanh one, which stands in for erf in all files of this kind.
  package var suitsLlamaCpp: Bool {
    guard let vision, let projector else { return true }
    let layers = absoluteFeatureLayers
    return projector.inputNorm == nil && projector.layerNorms ?? vision.epsilon == vision.epsilon
      && projector.activation != .quick && keepsClassToken == !vision.hasClassToken
      && zip(layers, layers.dropFirst()).allSatisfy { $0 < $1 }
  }

  /// The metadata of the projector file. limn reads it, and so does llama.cpp's mtmd unless the projector's type is
  /// limn's own.
  /// - Parameters:
  ///   - colours: the mean and the standard deviation that normalise images.
  ///   - aspect: the original layout's `image_aspect_ratio`, for readers that have a choice.
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
      // Width comes before height, as in the original configs.
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

  /// Settings that the usual keys cannot express, written only if they differ from what readers assume.
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

/// Keys that limn adds to the metadata of projector files, under `clip.`. llama.cpp knows none of them: a file that
/// it would compute wrongly gets limn's own projector type, which llama.cpp refuses.
enum GGUFProjector {
  static let plainType = "mlp"
  /// Yi-VL's type in files from other converters; llama.cpp has no such name and goes by the tensors alone.
  static let normedType = "mlp_norm"
  static let ownType = "limn_mlp"

  /// GELUs, under the names that transformers gives them.
  static let visionActivation = "limn.vision.activation"
  static let activation = "limn.projector.activation"
  /// Epsilons: of the norm before the projector, and of those after its layers.
  static let inputNorm = "limn.projector.input_norm_epsilon"
  static let layerNorms = "limn.projector.layer_norm_epsilon"
  /// Whether the first feature stays: the class token's, or the first patch's if there is no class token.
  static let keepsFirstFeature = "limn.vision.keeps_first_feature"

  /// The meaning of `use_gelu`: tanh for SigLIP, but erf for the CLIPs that have one.
  static func usualGELU(_ family: VisionConfig.Family) -> GELU { family == .siglip ? .tanh : .erf }
}
