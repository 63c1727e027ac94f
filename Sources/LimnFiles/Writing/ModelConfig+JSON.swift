package import LimnCore
import LimnTensor

extension ModelConfig {
  /// The transformers class that runs this model.
  private enum HuggingFaceClass: String {
    case llava = "Llava"
    case llavaNext = "LlavaNext"
    case vipLlava = "VipLlava"

    var modelType: String {
      switch self {
      case .llava: "llava"
      case .llavaNext: "llava_next"
      case .vipLlava: "vipllava"
      }
    }
  }

  /// nil if transformers has no such class: for norms after the projector's layers, and for a norm before it in any
  /// model that is not like VipLLaVA, which drops the first feature and has no tiles.
  private var huggingFaceClass: HuggingFaceClass? {
    guard projector?.layerNorms == nil else { return nil }
    guard projector?.inputNorm != nil else { return family == .llavaNext ? .llavaNext : .llava }
    return keepsClassToken || family == .llavaNext ? nil : .vipLlava
  }

  /// Refuses models that no transformers class can run.
  package func requireHuggingFaceClass(_ reference: String) throws(LimnError) {
    guard huggingFaceClass == nil else { return }
    throw LimnError.badData(
      "transformers has no class for this model's projector", in: reference,
      expected: "two linear layers with a GELU between, or VipLLaVA's",
      found: projector?.layerNorms == nil ? "a norm before them" : "a norm behind each of them",
      remedy: "convert to gguf, or ask the model as it is")
  }

  /// The config.json of LlavaForConditionalGeneration, LlavaNextForConditionalGeneration or
  /// VipLlavaForConditionalGeneration.
  /// - Parameters:
  ///   - imageToken: the id that stands for an image.
  ///   - dtype: PyTorch's name for it: "float16".
  ///   - hasAttentionBias, hasMLPBias: whether a Llama's projections have biases.
  ///   - ids: `bos_token_id` and so on, for those that the tokenizer has.
  package func huggingFaceJSON(
    imageToken: Int, dtype: String, hasAttentionBias: Bool, hasMLPBias: Bool,
    ids: [(key: String, id: Int)]
  ) -> JSON {
    let vision = vision ?? .llavaDefault
    let kind = huggingFaceClass ?? .llava
    let isNext = kind == .llavaNext
    var text = language.huggingFaceJSON(hasAttentionBias: hasAttentionBias, hasMLPBias: hasMLPBias)
    for (key, id) in ids { text.set(key, to: .integer(id)) }
    var json: JSONObject = [
      "architectures": .array([.string("\(kind.rawValue)ForConditionalGeneration")]),
      "model_type": .string(kind.modelType), "dtype": .string(dtype), "torch_dtype": .string(dtype),
      "image_token_index": .integer(imageToken), "image_token_id": .integer(imageToken),
      "projector_hidden_act": .string((projector?.activation ?? .erf).huggingFaceName),
      "multimodal_projector_bias": .bool(true),
      "vision_feature_layer": featureLayers.count == 1
        ? .integer(featureLayers[0]) : .array(featureLayers.map(JSON.integer)),
      "vision_feature_select_strategy": .string(keepsClassToken ? "full" : "default"),
      "tie_word_embeddings": .bool(language.tiedEmbeddings),
    ]
    if kind == .vipLlava, let epsilon = projector?.inputNorm {
      json.set("projector_layernorm_eps", to: .number(epsilon))
      // The name before transformers 5.
      json.set("vision_feature_layers", to: json["vision_feature_layer"] ?? .null)
    }
    let all = vision.patchesPerSide * vision.patchesPerSide + (vision.hasClassToken ? 1 : 0)
    json.set("image_seq_length", to: .integer(keepsClassToken ? all : all - 1))
    if isNext {
      json.set("use_image_newline_parameter", to: .bool(true))
      json.set(
        "image_grid_pinpoints",
        to: .array(gridPinpoints.map { .array([.integer($0.height), .integer($0.width)]) }))
    }
    json.set("text_config", to: .object(text))
    json.set("vision_config", to: .object(vision.huggingFaceJSON))
    return .object(json)
  }
}

extension LanguageConfig {
  fileprivate func huggingFaceJSON(hasAttentionBias: Bool, hasMLPBias: Bool) -> JSONObject {
    let type = architecture == .phi2 ? "phi" : architecture.rawValue
    var json: JSONObject = [
      "model_type": .string(type), "hidden_size": .integer(hidden), "intermediate_size": .integer(ffn),
      "num_hidden_layers": .integer(layers), "num_attention_heads": .integer(heads),
      "num_key_value_heads": .integer(kvHeads), "vocab_size": .integer(vocabulary),
      "max_position_embeddings": .integer(maxPositions),
      (architecture == .phi2 ? "layer_norm_eps" : "rms_norm_eps"): .number(epsilon),
      "hidden_act": .string(activation.gelu?.huggingFaceName ?? "silu"),
      "tie_word_embeddings": .bool(tiedEmbeddings), "rope_theta": .number(ropeTheta),
    ]
    if architecture == .llama || architecture == .mistral {
      json.set("head_dim", to: .integer(headSize))
    }
    if architecture == .llama {
      json.set("attention_bias", to: .bool(hasAttentionBias))
      json.set("mlp_bias", to: .bool(hasMLPBias))
    }
    if architecture == .mistral || architecture == .phi3 {
      json.set("sliding_window", to: slidingWindow.map(JSON.integer) ?? .null)
    }
    if architecture == .phi2 || architecture == .phi3 {
      json.set("partial_rotary_factor", to: .number(Double(rotaryDimensions) / Double(headSize)))
    }
    json.set("rope_scaling", to: ropeScalingJSON)
    if case .longrope(_, _, let original, _) = ropeScaling, architecture == .phi3 {
      json.set("original_max_position_embeddings", to: .integer(min(original, maxPositions)))
    }
    return json
  }

  private var ropeScalingJSON: JSON {
    switch ropeScaling {
    case .none: return .null
    case .linear(let factor): return .object(["rope_type": .string("linear"), "factor": .number(factor)])
    case .dynamic(let factor): return .object(["rope_type": .string("dynamic"), "factor": .number(factor)])
    case .llama3(let factor, let low, let high, let original):
      return .object([
        "rope_type": .string("llama3"), "factor": .number(factor), "low_freq_factor": .number(low),
        "high_freq_factor": .number(high), "original_max_position_embeddings": .integer(original),
      ])
    case .longrope(let short, let long, let original, let amplitude):
      return .object([
        "rope_type": .string("longrope"), "type": .string("longrope"),
        "short_factor": .array(short.map(JSON.number)), "long_factor": .array(long.map(JSON.number)),
        "original_max_position_embeddings": .integer(min(original, maxPositions)),
        "attention_factor": .number(amplitude),
      ])
    }
  }
}

extension VisionConfig {
  fileprivate var huggingFaceJSON: JSONObject {
    var json: JSONObject = [
      "model_type": .string(family == .clip ? "clip_vision_model" : "siglip_vision_model"),
      "hidden_size": .integer(hidden), "intermediate_size": .integer(ffn), "num_hidden_layers": .integer(layers),
      "num_attention_heads": .integer(heads), "image_size": .integer(imageSize),
      "patch_size": .integer(patchSize), "num_channels": .integer(3),
      "hidden_act": .string(activation.huggingFaceName), "layer_norm_eps": .number(epsilon),
    ]
    switch family {
    case .clip: json.set("projection_dim", to: .integer(768))
    // SigLIP's pooling head, which merges all patches into one vector, is not there.
    case .siglip: json.set("vision_use_head", to: .bool(false))
    }
    return json
  }
}

extension GELU {
  /// The name in transformers.
  var huggingFaceName: String {
    switch self {
    case .erf: "gelu"
    case .tanh: "gelu_new"
    case .quick: "quick_gelu"
    }
  }

  /// Finds the value with this name in transformers.
  init?(huggingFaceName name: String) {
    switch name {
    case "gelu": self = .erf
    case "gelu_new", "gelu_pytorch_tanh", "gelu_fast": self = .tanh
    case "quick_gelu": self = .quick
    default: return nil
    }
  }
}
