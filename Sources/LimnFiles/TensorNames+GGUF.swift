import LimnTensor

/// Tensor names in GGUF files, for language models and projector files.
package struct GGUFNames {
  private var table: [String: String]
  private let layerTable: [String: String]
  private let layerPrefix: (file: String, model: String)

  /// The naming that a language model's or projector's file uses. Some names mean different things in different
  /// files, so this looks at the file.
  init(_ file: GGUF) {
    self = file.isProjector ? Self(projector: file) : Self(language: file)
  }

  func place(of name: String) -> TensorPlace {
    // RoPE frequencies are part of the config.
    if name.hasPrefix("rope_f") { return .leftover }
    if let place = table[name] { return .named(place) }
    let (stem, suffix) = Self.split(name)
    if let place = table[stem] { return .named(place + suffix) }
    guard stem.hasPrefix(layerPrefix.file) else { return .unknown }
    let rest = stem.dropFirst(layerPrefix.file.count)
    guard let dot = rest.firstIndex(of: "."), let number = Int(rest[..<dot]), number >= 0,
      let module = layerTable[String(rest[rest.index(after: dot)...])]
    else { return .unknown }
    return .named("\(layerPrefix.model)\(number).\(module)\(suffix)")
  }

  /// "blk.0.attn_q.weight" → ("blk.0.attn_q", ".weight")
  private static func split(_ name: String) -> (String, String) {
    for suffix in [".weight", ".bias"] where name.hasSuffix(suffix) {
      return (String(name.dropLast(suffix.count)), suffix)
    }
    return (name, "")
  }

  /// The names that limn writes to a language model's file.
  package init(writing language: LanguageConfig) {
    self.init(isPhi2: language.architecture == .phi2, isFused: language.architecture == .phi3)
  }

  /// The names that limn writes to a projector's file. Readers take fc1 and fc2 for swapped if the shapes do not
  /// decide.
  package init(writing vision: VisionConfig, _ projector: ProjectorConfig?) {
    self.init(isSwapped: vision.ffn == vision.hidden, hasNorms: projector?.layerNorms != nil)
  }

  /// The name of the canonical tensor in a file; nil if the file has no place for it.
  package func fileName(of canonical: String) -> String? {
    let (stem, suffix) = Self.split(canonical)
    if let name = names[canonical] { return name }
    if let name = names[stem] { return name + suffix }
    guard stem.hasPrefix(layerPrefix.model) else { return nil }
    let rest = stem.dropFirst(layerPrefix.model.count)
    guard let dot = rest.firstIndex(of: "."), let number = Int(rest[..<dot]),
      let module = layerTable.first(where: { $0.value == rest[rest.index(after: dot)...] })?.key
    else { return nil }
    return "\(layerPrefix.file)\(number).\(module)\(suffix)"
  }

  /// Canonical name → name in a file; if several names mean the same tensor, the one that limn writes.
  private var names: [String: String] { Dictionary(table.map { ($1, $0) }, uniquingKeysWith: max) }

  private init(language file: GGUF) {
    self.init(
      isPhi2: file.architecture == "phi2", isFused: file.tensor("blk.0.ffn_gate.weight") == nil)
  }

  private init(isPhi2: Bool, isFused: Bool) {
    layerPrefix = ("blk.", "language_model.layers.")
    table = [
      "token_embd": "language_model.embed_tokens", "output_norm": "language_model.norm", "output": "lm_head",
    ]
    var layers = [
      "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
      "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_qkv": "self_attn.qkv_proj",
      "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
      "ffn_down": "mlp.down_proj",
    ]
    if isPhi2 {
      (layers["ffn_up"], layers["ffn_down"]) = ("mlp.fc1", "mlp.fc2")
    } else if isFused {
      // phi3 stores gate and up as one matrix.
      layers["ffn_up"] = "mlp.gate_up_proj"
    }
    layerTable = layers
  }

  private init(projector file: GGUF) {
    // The first converters called fc1 "down" and fc2 "up". Only shapes tell: fc1's input is the hidden size.
    let hidden = file.tensor("v.position_embd.weight")?.shape.last
    self.init(isSwapped: file.tensor("v.blk.0.ffn_down.weight")?.shape.last == hidden)
  }

  /// - Parameter hasNorms: whether the projector has norms, which shift its second layer from mm.2 to mm.3; nil:
  ///   unknown, so both names are read.
  private init(isSwapped: Bool, hasNorms: Bool? = nil) {
    layerPrefix = ("v.blk.", "vision_tower.encoder.layers.")
    table = [
      "v.class_embd": "vision_tower.embeddings.class_embedding",
      "v.patch_embd": "vision_tower.embeddings.patch_embedding",
      "v.position_embd": "vision_tower.embeddings.position_embedding",
      "v.pre_ln": "vision_tower.pre_layrnorm", "v.post_ln": "vision_tower.post_layernorm",
      "mm.0": "multi_modal_projector.linear_1", "mm.2": "multi_modal_projector.linear_2",
      "mm.1": "multi_modal_projector.norm_1", "mm.3": "multi_modal_projector.linear_2",
      "mm.4": "multi_modal_projector.norm_2", "mm.input_norm": "multi_modal_projector.projector_layernorm",
      "model.image_newline": "image_newline", "v.image_newline": "image_newline",
    ]
    if let hasNorms { table[hasNorms ? "mm.2" : "mm.3"] = nil }
    layerTable = [
      "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
      "attn_out": "self_attn.out_proj", "ln1": "layer_norm1", "ln2": "layer_norm2",
      "ffn_down": isSwapped ? "mlp.fc1" : "mlp.fc2", "ffn_up": isSwapped ? "mlp.fc2" : "mlp.fc1",
    ]
  }
}
