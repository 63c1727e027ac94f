import LimnCore
import LimnTensor

/// An adapter as peft writes it: adapter_config.json, and in adapter_model.{safetensors,bin} two thin matrices for
/// each weight that it changes: weight + alpha / r · B · A. Tensors trained in full (`modules_to_save`, biases) are
/// stored beside them and replace the base model's.
struct Adapter {
  /// The base model's name as the training script wrote it.
  let baseName: String?
  private let config: FieldReader
  private let weights: [NamedTensor]
  /// The weights' file.
  private let path: String
  /// Values for modules whose names match, instead of `r` and `lora_alpha`; the first match counts.
  private let ranks, alphas: [(pattern: ModulePattern, value: Double)]

  static func exists(in folder: Folder) -> Bool {
    folder.has("adapter_config.json") || folder.has("adapter_model.safetensors")
      || folder.has("adapter_model.bin")
  }

  init(_ folder: Folder) throws(LimnError) {
    guard let json = try folder.json("adapter_config.json") else {
      throw LimnError(
        .notFound, "the adapter has no adapter_config.json", in: folder.path,
        remedy: "fetch it: it says how strongly the adapter counts")
    }
    config = FieldReader(json: json, place: folder.path("adapter_config.json"))
    path = try Self.file(folder)
    weights = try RawWeights.file(path)
    baseName = try config.string("base_model_name_or_path")
    ranks = try Self.patterns("rank_pattern", config)
    alphas = try Self.patterns("alpha_pattern", config)
    try refuseOtherKinds()
  }

  /// The path of the file with the weights.
  static func file(_ folder: Folder) throws(LimnError) -> String {
    for name in ["adapter_model.safetensors", "adapter_model.bin"] where folder.has(name) {
      return folder.path(name)
    }
    throw LimnError(
      .notFound, "the adapter's weights are missing", in: folder.path,
      expected: "adapter_model.safetensors or adapter_model.bin", remedy: "fetch them")
  }

  /// Refuses adapters that compute anything other than weight + alpha / r · B · A.
  private func refuseOtherKinds() throws(LimnError) {
    if let type = try config.string("peft_type"), type != "LORA" {
      throw config.wrong("peft_type", expected: "LORA: limn merges no other adapter")
    }
    for field in ["use_dora", "use_qalora", "lora_bias"] where try config.bool(field) == true {
      throw config.wrong(field, expected: "false: limn merges plain LoRA only")
    }
    // These initialisations change the base weights; peft can convert such adapters to plain LoRA.
    if let start = config.json["init_lora_weights"]?.string?.lowercased(),
      ["pissa", "olora", "corda", "loftq", "lora_ga"].contains(where: start.hasPrefix)
    {
      throw config.wrong("init_lora_weights", expected: "true: convert the adapter with peft first")
    }
    for field in ["layer_replication", "target_parameters", "trainable_token_indices"] where config.has(field) {
      throw config.wrong(field, expected: "nothing: limn merges plain LoRA only")
    }
  }

  /// Records what the adapter adds to the weights of its base, and replaces those that it holds in full.
  /// - Parameter place: maps a tensor's name to its place in the base model.
  func apply(to names: inout CanonicalWeights, _ place: (String) -> TensorPlace) throws(LimnError) {
    let parts = try parts(place)
    try names.replace(with: parts.whole, place, path)
    for (target, pair) in parts.pairs.sorted(by: { $0.key < $1.key }) {
      names.add(try update(pair, of: target, names.weights), to: target)
    }
  }

  /// What the adapter adds to the weights of a model that may also be used without it.
  /// - Throws: bad data if the adapter also replaces weights.
  func updates(
    to weights: [String: Weight], _ place: (String) -> TensorPlace
  ) throws(LimnError) -> [String: LowRankUpdate] {
    let parts = try parts(place)
    if let whole = parts.whole.first {
      throw LimnError.badData(
        "the adapter has a weight of its own instead of adding to the model's, so it cannot be switched", in: path,
        found: whole.name, remedy: "open the adapter's folder as the model")
    }
    var updates: [String: LowRankUpdate] = [:]
    for (target, pair) in parts.pairs { updates[target] = try update(pair, of: target, weights) }
    return updates
  }

  /// Pairs of A and B keyed by the weight that they add to, and the tensors that were trained in full.
  private func parts(
    _ place: (String) -> TensorPlace
  ) throws(LimnError) -> (pairs: [String: Pair], whole: [NamedTensor]) {
    var pairs: [String: Pair] = [:]
    var whole: [NamedTensor] = []
    for entry in weights {
      let part = AdapterPart(entry.name)
      guard let half = part.half else {
        whole.append(NamedTensor(name: part.module, tensor: entry.tensor))
        continue
      }
      guard half != .unknown, case .named(let target) = place(part.module + ".weight") else {
        throw LimnError.badData("the adapter has a part that limn does not know", in: path, found: entry.name)
      }
      pairs[target, default: Pair(module: part.module)].set(half, entry.tensor)
    }
    return (pairs, whole)
  }

  private func update(
    _ pair: Pair, of target: String, _ weights: [String: Weight]
  ) throws(LimnError) -> LowRankUpdate {
    let update = try update(pair)
    guard let weight = weights[target] else {
      throw LimnError.badData(
        "the adapter changes \(target), which the base model does not have", in: path,
        remedy: "name the right base model with \(.base)")
    }
    let expected = update.isTransposed ? [pair.inputs, pair.outputs] : [pair.outputs, pair.inputs]
    guard weight.shape == expected else {
      throw LimnError.badData(
        "the adapter's part for \(target) is of another shape than the base model's", in: path,
        expected: "\(weight.shape)", found: "\(expected)", remedy: "name the right base model with \(.base)")
    }
    return update
  }

  private func update(_ pair: Pair) throws(LimnError) -> LowRankUpdate {
    guard let a = pair.a, let b = pair.b, a.shape.count == 2, b.shape.count == 2, a.shape[0] == b.shape[1]
    else {
      throw LimnError.badData(
        "the adapter's part for \(pair.module) is broken", in: path,
        expected: "lora_A [r, inputs] and lora_B [outputs, r]",
        found: "\(pair.a?.shape.description ?? "no A") and \(pair.b?.shape.description ?? "no B")")
    }
    let usualRank = try config.int("r") ?? 8
    let said = try value(of: pair.module, in: ranks) ?? Double(usualRank)
    let rank = a.shape[0]
    guard Double(rank) == said || ranks.contains(where: { $0.value == Double(rank) }), rank > 0 else {
      throw LimnError.badData(
        "the adapter's part for \(pair.module) has another rank than adapter_config.json says", in: path,
        expected: "r \(Int(exactly: said).map(String.init) ?? "\(said)")", found: "\(rank)",
        remedy: "the two files are of different adapters; fetch both again")
    }
    let usualAlpha = try config.double("lora_alpha") ?? 8
    let alpha = try value(of: pair.module, in: alphas) ?? usualAlpha
    guard alpha.isFinite else { throw config.wrong("lora_alpha", expected: "a number") }
    let isRankStabilised = try config.bool("use_rslora") ?? false
    let isFanInFanOut = try config.bool("fan_in_fan_out") ?? false
    return LowRankUpdate(
      a: a, b: b, scale: Float(alpha / (isRankStabilised ? Double(rank).squareRoot() : Double(rank))),
      isTransposed: pair.isEmbedding || isFanInFanOut)
  }

  private static func patterns(
    _ field: String, _ config: FieldReader
  ) throws(LimnError) -> [(pattern: ModulePattern, value: Double)] {
    var result: [(ModulePattern, Double)] = []
    for (key, value) in try config.object(field)?.json.object?.members ?? [] {
      guard let number = value.double, let pattern = try? ModulePattern(key) else {
        throw config.wrong(field, expected: "numbers by regular expressions for names of modules")
      }
      result.append((pattern, number))
    }
    return result
  }

  private func value(
    of module: String, in patterns: [(pattern: ModulePattern, value: Double)]
  ) throws(LimnError) -> Double? {
    for (pattern, value) in patterns {
      do {
        if try pattern.matches(module) { return value }
      } catch {
        var error = error
        error.place = config.place
        throw error
      }
    }
    return nil
  }
}

/// The two halves of one weight's update.
private struct Pair {
  /// The module's name in the adapter.
  let module: String
  var a: Tensor?
  var b: Tensor?
  var isEmbedding = false

  init(module: String) { self.module = module }

  mutating func set(_ half: AdapterPart.Half, _ tensor: Tensor) {
    switch half {
    case .a: a = tensor
    case .b: b = tensor
    case .embeddingA: (a, isEmbedding) = (tensor, true)
    case .embeddingB: (b, isEmbedding) = (tensor, true)
    case .unknown: break
    }
  }

  var inputs: Int { a?.shape.last ?? 0 }
  var outputs: Int { b?.shape.first ?? 0 }
}

/// The parts of a tensor's name in an adapter file: "base_model.model.MODULE.lora_A.weight", with the adapter's name
/// before "weight" if the script saved it itself, or the full name of a tensor that was trained in full.
private struct AdapterPart {
  enum Half: String {
    case a = "lora_A"
    case b = "lora_B"
    case embeddingA = "lora_embedding_A"
    case embeddingB = "lora_embedding_B"
    case unknown
  }

  let module: String
  /// nil: `module` is the full name of a tensor that was trained in full.
  let half: Half?

  init(_ name: String) {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false)
    if parts.starts(with: ["base_model", "model"]) { parts.removeFirst(2) }
    if let place = parts.firstIndex(where: { $0.hasPrefix("lora_") }) {
      module = parts[..<place].joined(separator: ".")
      let rest = parts[(place + 1)...].filter { $0 != "default" }
      let half = Half(rawValue: String(parts[place])) ?? .unknown
      let isWhole = half == .embeddingA || half == .embeddingB ? rest.isEmpty : rest == ["weight"]
      self.half = isWhole ? half : .unknown
    } else {
      let inner: Set<Substring> = ["modules_to_save", "default", "base_layer"]
      module = parts.filter { !inner.contains($0) }.joined(separator: ".")
      half = nil
    }
  }
}
