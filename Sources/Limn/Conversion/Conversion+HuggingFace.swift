import Foundation
package import LimnFiles
import LimnImage
package import LimnCore
package import LimnTensor
import LimnText

extension Conversion {
  /// A folder that transformers opens with `LlavaForConditionalGeneration.from_pretrained` (or LlavaNext…).
  /// - Parameters:
  ///   - type: F32, F16 or BF16.
  ///   - output: the folder.
  /// - Throws: bad data for a model without a vision tower, a tokenizer that cannot be written, or an image token far
  ///   beyond the vocabulary.
  package static func huggingFace(
    _ location: ModelLocation, type: TensorType, output: String
  ) throws(LimnError) -> Conversion {
    let checkpoint = try source(location)
    guard checkpoint.config.vision != nil else {
      throw LimnError.badData(
        "the model has no vision tower", in: location.model,
        remedy: "name its projector file with \(.projector), or convert to gguf")
    }
    var conversion = Conversion()
    let tokenizer = try Tokenizer(checkpoint.tokenizer)
    let image = try imageToken(checkpoint, tokenizer)
    if checkpoint.weights["lm_head.bias"] != nil {
      conversion.notes.append("transformers' LLaVA classes ignore the bias of this model's output head")
    }
    try conversion.addShards(try tensors(checkpoint, type, rows: image.rows, filler: image.filler), output)
    // An adapter's folder has no config for the whole model.
    if checkpoint.layout == .huggingFace, checkpoint.parts.isEmpty {
      try conversion.copyFiles(from: checkpoint, type, rows: image.rows, output)
    } else {
      try checkpoint.config.requireHuggingFaceClass(location.model)
      try conversion.makeFiles(for: checkpoint, tokenizer, image.token, image.rows, type, output)
    }
    return conversion
  }

  /// The token that stands for an image: the checkpoint's own, one called `<image>`, or the next free id, for which
  /// the embedding table gains a row.
  private static func imageToken(
    _ checkpoint: Checkpoint, _ tokenizer: Tokenizer
  ) throws(LimnError) -> (token: Int, rows: Int, filler: Int) {
    let rows = try checkpoint.weight(named: "language_model.embed_tokens.weight").shape[0]
    let known = checkpoint.config.imageTokenID ?? tokenizer.id(of: TokenizerExport.imageToken)
    let token = known ?? min(tokenizer.vocabularySize, rows)
    guard token < rows + maxNewRows else {
      throw LimnError.badData(
        "the image token lies far beyond the vocabulary", in: checkpoint.reference,
        expected: "an id below \(rows + maxNewRows), with \(rows) rows in the embedding table", found: "\(token)",
        remedy: "correct image_token_index in config.json, or the id of \(TokenizerExport.imageToken) in the tokenizer")
    }
    return (token, max(rows, token + 1), min(tokenizer.unknownID ?? 0, rows - 1))
  }

  /// How many rows the image token may add. It normally comes right after the vocabulary or a few other added tokens.
  /// An id further off is a mistake, and would fill two tables with unused rows up to it.
  private static let maxNewRows = 1024

  // MARK: Weights

  private static func tensors(
    _ checkpoint: Checkpoint, _ type: TensorType, rows: Int, filler: Int
  ) throws(LimnError) -> [OutputTensor] {
    let language = checkpoint.config.language
    var tensors: [OutputTensor] = []
    for (canonical, source) in checkpoint.weights {
      if canonical.contains("self_attn.qkv_proj"), language.architecture != .phi3 {
        tensors += try split(canonical, source, language, type)
        continue
      }
      var order = language.ropeAdjacent ? HeadOrder.order(of: canonical, language, HeadOrder.halves) : nil
      let isTable = canonical == "language_model.embed_tokens.weight" || canonical.hasPrefix("lm_head.")
      if isTable, source.shape[0] < rows {
        let given = (0..<source.shape[0]).map(Int32.init)
        order = given + repeatElement(Int32(filler), count: rows - given.count)
      }
      tensors.append(try OutputTensor(name(of: canonical, language), source, as: type, order: order))
    }
    return tensors + (try lastNorm(checkpoint, type))
  }

  /// Splits fused q, k and v.
  private static func split(
    _ canonical: String, _ source: Weight, _ language: LanguageConfig, _ type: TensorType
  ) throws(LimnError) -> [OutputTensor] {
    let (queries, keys) = (language.heads * language.headSize, language.kvHeads * language.headSize)
    guard source.shape.first == queries + 2 * keys else {
      throw LimnError.badData(
        "the tensor \(canonical) has other rows than q, k and v together", expected: "\(queries + 2 * keys)",
        found: "\(source.shape)")
    }
    var parts: [OutputTensor] = []
    var start = 0
    for (letter, count) in [("q", queries), ("k", keys), ("v", keys)] {
      let name = name(of: canonical.replacing("qkv_proj", with: "\(letter)_proj"), language)
      let rows = (start..<start + count).map(Int32.init)
      parts.append(try OutputTensor(name, source, as: type, order: rows))
      start += count
    }
    return parts
  }

  /// The tower's last norm. Nothing reads it, but transformers reports it as missing if a converter left it out.
  private static func lastNorm(_ checkpoint: Checkpoint, _ type: TensorType) throws(LimnError) -> [OutputTensor] {
    guard checkpoint.weights["vision_tower.post_layernorm.weight"] == nil, let vision = checkpoint.config.vision
    else { return [] }
    let name = "vision_tower.vision_model.post_layernorm"
    return [
      try OutputTensor("\(name).weight", values: Array(repeating: 1, count: vision.hidden), as: type),
      try OutputTensor("\(name).bias", values: Array(repeating: 0, count: vision.hidden), as: type),
    ]
  }

  /// The tensor's name in the layout that every version of transformers reads.
  private static func name(of canonical: String, _ language: LanguageConfig) -> String {
    func rest(_ prefix: String) -> String? {
      canonical.hasPrefix(prefix) ? String(canonical.dropFirst(prefix.count)) : nil
    }
    if let rest = rest("vision_tower.") { return "vision_tower.vision_model." + rest }
    if canonical.hasPrefix("lm_head.") { return "language_model." + canonical }
    guard var rest = rest("language_model.") else { return canonical }
    if language.architecture == .phi2 {
      if rest.hasPrefix("norm.") { rest = "final_layernorm." + rest.dropFirst("norm.".count) }
      rest = rest.replacing("self_attn.o_proj.", with: "self_attn.dense.")
    }
    return "language_model.model." + rest
  }

  private static let longestShard = 5_000_000_000

  private mutating func addShards(_ tensors: [OutputTensor], _ folder: String) throws(LimnError) {
    var shards: [[OutputTensor]] = [[]]
    var size = 0
    for tensor in tensors.sorted(by: { $0.header.name < $1.header.name }) {
      if size + tensor.header.byteCount > Self.longestShard, size > 0 {
        shards.append([])
        size = 0
      }
      shards[shards.count - 1].append(tensor)
      size += tensor.header.byteCount
    }
    func number(_ value: Int) -> String { String(format: "%05d", value) }
    for (index, shard) in shards.enumerated() {
      let name =
        shards.count == 1
        ? "model.safetensors" : "model-\(number(index + 1))-of-\(number(shards.count)).safetensors"
      weights.append(
        WeightFile(
          path: (folder as NSString).appendingPathComponent(name),
          layout: SafetensorsWriter.layout(shard.map(\.header)), tensors: shard))
    }
    guard shards.count > 1 else {
      obsolete = [(folder as NSString).appendingPathComponent("model.safetensors.index.json")]
      return
    }
    obsolete = [(folder as NSString).appendingPathComponent("model.safetensors")]
    let index = SafetensorsWriter.index(weights.map { (($0.path as NSString).lastPathComponent, $0.layout) })
    add("model.safetensors.index.json", index, folder)
  }

  // MARK: Small files

  private mutating func add(_ name: String, _ json: JSON, _ folder: String) {
    let text = json.serialised(.init(indent: 2)) + "\n"
    others.append(((folder as NSString).appendingPathComponent(name), Array(text.utf8)))
  }

  private static let copied = [
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "preprocessor_config.json", "processor_config.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json",
  ]

  /// Copies everything but the weights from a folder of the same layout, and updates the config to match them.
  private mutating func copyFiles(
    from checkpoint: Checkpoint, _ type: TensorType, rows: Int, _ folder: String
  ) throws(LimnError) {
    let source = checkpoint.reference as NSString
    for name in Self.copied {
      let path = source.appendingPathComponent(name)
      guard FileManager.default.fileExists(atPath: path) else { continue }
      let memory = try Memory(mapping: path)
      defer { withExtendedLifetime(memory) {} }
      others.append(((folder as NSString).appendingPathComponent(name), Array(memory.bytes)))
    }
    let json = Self.retyped(try JSON.parse(file: source.appendingPathComponent("config.json")), type)
    var config = json.object ?? [:]
    // The image token may have gained a row.
    var text = config["text_config"]?.object ?? [:]
    text.set("vocab_size", to: .integer(rows))
    let isTied = JSON.bool(checkpoint.config.language.tiedEmbeddings)
    text.set("tie_word_embeddings", to: isTied)
    config.set("tie_word_embeddings", to: isTied)
    config.set("text_config", to: .object(text))
    // SigLIP's pooling head, which merges all patches into one vector, is not written.
    if checkpoint.config.vision?.family == .siglip, var vision = config["vision_config"]?.object {
      vision.set("vision_use_head", to: .bool(false))
      config.set("vision_config", to: .object(vision))
    }
    add("config.json", .object(config), folder)
  }

  private static func retyped(_ json: JSON, _ type: TensorType) -> JSON {
    guard let object = json.object else { return json }
    var result = JSONObject()
    for (key, value) in object.members where key != "quantization_config" {
      switch key {
      case "dtype", "torch_dtype": result.set(key, to: .string(dtype(type)))
      case "text_config", "vision_config": result.set(key, to: retyped(value, type))
      default: result.set(key, to: value)
      }
    }
    return .object(result)
  }

  private static func dtype(_ type: TensorType) -> String {
    type == .f32 ? "float32" : type == .bf16 ? "bfloat16" : "float16"
  }

  private mutating func makeFiles(
    for checkpoint: Checkpoint, _ tokenizer: Tokenizer, _ imageToken: Int, _ rows: Int, _ type: TensorType,
    _ folder: String
  ) throws(LimnError) {
    let isNext = checkpoint.config.family == .llavaNext
    let processor = isNext ? "LlavaNextProcessor" : "LlavaProcessor"
    let export = try TokenizerExport(tokenizer, rows: rows, place: checkpoint.reference)
    let text = export.tokenizerJSON(imageToken: imageToken).serialised(.init(indent: 1))
    others.append(((folder as NSString).appendingPathComponent("tokenizer.json"), Array(text.utf8)))
    add("tokenizer_config.json", export.configJSON(processor: processor), folder)
    if let template = try ChatTemplate.find(in: checkpoint.tokenizer) {
      others.append(
        ((folder as NSString).appendingPathComponent("chat_template.jinja"), Array(template.source.utf8)))
    }
    let image = try ModelImageProcessor(checkpoint, policy: .trained)
    add("preprocessor_config.json", Self.preprocessor(image, checkpoint.config), folder)
    let vision = checkpoint.config.vision
    add(
      "processor_config.json",
      .object([
        "processor_class": .string(processor), "image_token": .string(TokenizerExport.imageToken),
        "patch_size": .integer(vision?.patchSize ?? 14),
        "num_additional_image_tokens": .integer(vision?.hasClassToken == false ? 0 : 1),
        "vision_feature_select_strategy": .string(checkpoint.config.keepsClassToken ? "full" : "default"),
      ]), folder)
    var config = checkpoint.config
    config.language.vocabulary = rows
    // transformers refuses a model whose padding token has no row.
    func embedded(_ id: Int?) -> Int? { id.flatMap { $0 < rows ? $0 : nil } }
    let (begin, end, padding) = (embedded(tokenizer.bosID), embedded(tokenizer.eosID), embedded(tokenizer.padID))
    let ids = [("bos_token_id", begin), ("eos_token_id", end), ("pad_token_id", padding)]
      .compactMap { key, id in id.map { (key, $0) } }
    let ends = tokenizer.endOfGenerationIDs.union(checkpoint.endOfGenerationIDs).filter { $0 < rows }.sorted()
    add(
      "generation_config.json",
      .object([
        "bos_token_id": begin.map(JSON.integer) ?? .null, "eos_token_id": .array(ends.map(JSON.integer)),
        "pad_token_id": (padding ?? end).map(JSON.integer) ?? .null,
      ]), folder)
    func hasBias(_ module: String) -> Bool {
      checkpoint.weights["language_model.layers.0.\(module).bias"] != nil
    }
    add(
      "config.json",
      config.huggingFaceJSON(
        imageToken: imageToken, dtype: Self.dtype(type), hasAttentionBias: hasBias("self_attn.q_proj"),
        hasMLPBias: hasBias("mlp.down_proj"), ids: ids), folder)
  }

  /// preprocessor_config.json, describing how limn prepares images for this checkpoint.
  private static func preprocessor(_ image: ModelImageProcessor, _ config: ModelConfig) -> JSON {
    let processor = image.processor.configuration
    let side = config.vision?.imageSize ?? 336
    let isNext = config.family == .llavaNext
    let pads = image.policy == .pad || image.policy == .hf && processor.kind == .llava && processor.doPad
    let stretches = image.policy == .hf && processor.kind == .siglip && !processor.doCenterCrop
    let kind = isNext ? "LlavaNext" : pads ? "Llava" : stretches ? "Siglip" : "CLIP"
    let square: JSON = .object(["height": .integer(side), "width": .integer(side)])
    var json: JSONObject = [
      "image_processor_type": .string(kind + "ImageProcessor"),
      "do_convert_rgb": .bool(true), "do_resize": .bool(true),
      "size": stretches ? square : .object(["shortest_edge": .integer(side)]),
      "resample": .integer(processor.resample.rawValue), "do_rescale": .bool(true),
      "rescale_factor": .number(1.0 / 255), "do_normalize": .bool(true),
      "image_mean": .array(processor.mean.map(JSON.number)), "image_std": .array(processor.std.map(JSON.number)),
    ]
    if !stretches {
      json.set("do_center_crop", to: .bool(true))
      json.set("crop_size", to: square)
    }
    if isNext || pads { json.set("do_pad", to: .bool(true)) }
    if isNext {
      json.set(
        "image_grid_pinpoints",
        to: .array(config.gridPinpoints.map { .array([.integer($0.height), .integer($0.width)]) }))
    }
    return .object(json)
  }
}
