/// The role of a checkpoint's tensor in the model.
package enum TensorPlace: Equatable {
  /// A tensor of the model, under its canonical name (docs/architecture.md).
  case named(String)
  /// Checkpoints of this kind store it, but nothing needs it: frequencies, position ids, CLIP's text half.
  case leftover
  /// Nothing in the model has this name.
  case unknown
}

/// The names in safetensors and PyTorch checkpoints, by prefix: Hugging Face's three schemes, the original LLaVA's, a
/// standalone CLIP's, and xtuner's. The rest of each name is the same everywhere.
package enum TensorNames {
  private enum Part { case language, head, vision, projector, newline }

  /// Longer prefixes first: the first match decides.
  private static let prefixes: [(String, Part)] = [
    ("model.vision_tower.vision_tower.vision_model.", .vision),
    ("model.vision_tower.vision_tower.", .vision),
    ("model.vision_tower.vision_model.", .vision),
    ("model.vision_tower.", .vision),
    ("vision_tower.vision_model.", .vision),
    ("vision_tower.vision_tower.vision_model.", .vision),
    ("vision_tower.", .vision),
    ("model.multi_modal_projector.", .projector),
    ("multi_modal_projector.", .projector),
    ("model.mm_projector.", .projector),
    ("mm_projector.", .projector),
    ("model.image_newline", .newline),
    ("image_newline", .newline),
    ("language_model.lm_head.", .head),
    ("model.lm_head.", .head),
    ("lm_head.", .head),
    ("model.language_model.model.", .language),
    ("model.language_model.", .language),
    ("language_model.model.", .language),
    ("language_model.", .language),
    ("model.", .language),
  ]

  /// The place of a tensor in a whole model.
  package static func place(of name: String) -> TensorPlace {
    // non_lora_trainables and mm_projector.bin files of adapters carry peft's prefix.
    let name =
      name.hasPrefix("base_model.model.") ? name.dropFirst("base_model.model.".count) : Substring(name)
    for (prefix, part) in prefixes where name.hasPrefix(prefix) {
      let leaf = name.dropFirst(prefix.count)
      switch part {
      case .newline: return leaf.isEmpty ? .named("image_newline") : .unknown
      case .head: return weightOrBias(leaf) ? .named("lm_head.\(leaf)") : .unknown
      case .projector: return projector(leaf)
      case .vision: return vision(leaf)
      case .language: return language(leaf)
      }
    }
    return .unknown
  }

  /// The place of a tensor in a standalone CLIP folder, which may include the text half.
  package static func clip(_ name: String) -> TensorPlace {
    for prefix in ["vision_model.", "clip.vision_model."] where name.hasPrefix(prefix) {
      return vision(name.dropFirst(prefix.count))
    }
    return vision(Substring(name))
  }

  /// The place of a tensor in xtuner's projector folder.
  package static func xtunerProjector(_ name: String) -> TensorPlace {
    projector(name.hasPrefix("model.") ? name.dropFirst("model.".count) : Substring(name))
  }

  // MARK: Leaves

  private static func language(_ leaf: Substring) -> TensorPlace {
    let base = "language_model."
    if leaf.hasSuffix("rotary_emb.inv_freq") { return .leftover }
    guard let (layer, rest) = numbered(leaf, after: "layers.") else {
      let renamed =
        leaf.hasPrefix("final_layernorm.") ? "norm." + leaf.dropFirst("final_layernorm.".count) : leaf
      for module in ["embed_tokens", "norm"] where isWeight(renamed, of: module) {
        return .named(base + renamed)
      }
      return .unknown
    }
    let dense = "self_attn.dense."
    let renamed = rest.hasPrefix(dense) ? "self_attn.o_proj." + rest.dropFirst(dense.count) : rest
    return languageModules.contains { isWeight(renamed, of: $0) }
      ? .named("\(base)layers.\(layer).\(renamed)") : .unknown
  }

  private static let languageModules =
    ["q", "k", "v", "qkv", "o"].map { "self_attn.\($0)_proj" } + ["self_attn.query_key_value"]
    + ["gate", "up", "gate_up", "down"].map { "mlp.\($0)_proj" }
    + ["mlp.fc1", "mlp.fc2", "input_layernorm", "post_attention_layernorm"]

  private static func vision(_ leaf: Substring) -> TensorPlace {
    // A whole CLIP's text half, and SigLIP's pooling head, which merges all patches into one vector.
    let leftovers = [
      "text_model.", "text_projection.", "visual_projection.", "logit_scale", "logit_bias", "head.",
    ]
    if leaf.hasSuffix("position_ids") || leftovers.contains(where: leaf.hasPrefix) { return .leftover }
    if leaf == "embeddings.class_embedding" { return .named("vision_tower.\(leaf)") }
    guard let (layer, rest) = numbered(leaf, after: "encoder.layers.") else {
      let modules = [
        "embeddings.patch_embedding", "embeddings.position_embedding", "pre_layrnorm", "post_layernorm",
      ]
      return modules.contains { isWeight(leaf, of: $0) } ? .named("vision_tower.\(leaf)") : .unknown
    }
    return visionModules.contains { isWeight(rest, of: $0) }
      ? .named("vision_tower.encoder.layers.\(layer).\(rest)") : .unknown
  }

  private static let visionModules =
    ["q", "k", "v", "out"].map { "self_attn.\($0)_proj" } + [
      "layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2",
    ]

  /// Numbers are positions in a sequence of layers: 0 and 2 with a GELU between, or 0 and 3 with a norm after each.
  private static let projectorModules = [
    "0": "linear_1", "1": "norm_1", "2": "linear_2", "3": "linear_2", "4": "norm_2", "linear_1": "linear_1",
    "linear_2": "linear_2", "norm_1": "norm_1", "norm_2": "norm_2",
    "projector_layernorm": "projector_layernorm",
  ]

  private static func projector(_ leaf: Substring) -> TensorPlace {
    guard let dot = leaf.firstIndex(of: "."), let module = projectorModules[String(leaf[..<dot])] else {
      return .unknown
    }
    let rest = leaf[leaf.index(after: dot)...]
    return weightOrBias(rest) ? .named("multi_modal_projector.\(module).\(rest)") : .unknown
  }

  /// "layers.12.mlp.fc1.bias" → (12, "mlp.fc1.bias")
  private static func numbered(_ leaf: Substring, after prefix: String) -> (Int, Substring)? {
    guard leaf.hasPrefix(prefix) else { return nil }
    let rest = leaf.dropFirst(prefix.count)
    guard let dot = rest.firstIndex(of: "."), let number = Int(rest[..<dot]), number >= 0 else { return nil }
    return (number, rest[rest.index(after: dot)...])
  }

  private static func isWeight(_ leaf: some StringProtocol, of module: String) -> Bool {
    leaf.hasPrefix(module + ".") && weightOrBias(leaf.dropFirst(module.count + 1))
  }

  /// A weight, a bias, or a part of a quantised weight.
  private static func weightOrBias(_ leaf: some StringProtocol) -> Bool {
    leaf == "weight" || leaf == "bias" || Bitsandbytes.isCompanion(leaf) || GroupedWeights.isPart(leaf)
  }
}
