import LimnCore
import LimnTensor

/// A model, assembled from the folders that it lies in: one, or an adapter's and its base's, a vision tower's, a
/// projector's.
struct ModelAssembly {
  var layout: Checkpoint.Layout
  var config: ModelConfig
  var names: CanonicalWeights
  /// The folder with the tokenizer.
  var tokenizer: Folder
  /// Folders that may hold preprocessor_config.json; the first that does counts.
  var processors: [Folder]
  var endOfGenerationIDs: Set<Int>
  /// Folders used besides the one that was named.
  var parts: [String] = []

  /// - Parameters:
  ///   - base: the model that an adapter or projector belongs to; nil: the one that its files name.
  ///   - depth: how many adapters are stacked on this folder.
  init(_ folder: Folder, base: String?, depth: Int = 0) throws(LimnError) {
    let kind = FolderKind(folder)
    let isWhole = kind == .model || kind == .xtuner && RawWeights.isThere(folder)
    guard base == nil || !isWhole else {
      throw LimnError(
        .usage, "\(.base) goes with an adapter or a projector; this folder holds a whole model", in: folder.path)
    }
    // Read the adapter before its base, so that its own faults are reported first.
    var adapter: Adapter?
    if kind == .adapter { adapter = try Adapter(folder) }
    if kind == .xtuner, let place = XtunerParts.llmAdapter(of: folder) { adapter = try Adapter(place) }
    if isWhole {
      self = try ModelAssembly(whole: folder)
    } else {
      let found = try kind.base(of: folder, named: base, depth: depth)
      self = try ModelAssembly(found, base: nil, depth: depth + 1)
      parts.append(found.absolute)
    }
    try adapter?.apply(to: &names, TensorNames.place)
    switch kind {
    case .model: break
    case .xtuner: try XtunerParts.complete(&self, folder)
    case .adapter:
      try take("non_lora_trainables.bin", folder)
      try takeFiles(folder)
    case .projector:
      try take("mm_projector.bin", folder)
      try takeFiles(folder)
    }
  }

  /// A folder that holds all of the language model's weights.
  private init(whole folder: Folder) throws(LimnError) {
    guard let json = try folder.json("config.json") else {
      let gguf = folder.names.first { $0.hasSuffix(".gguf") }
      throw LimnError(
        .notFound, "the folder has no config.json", in: folder.path, expected: "a model's folder",
        remedy: gguf.map { "name the file itself: \(folder.path($0))" } ?? "check the path")
    }
    let fields = FieldReader(json: json, place: folder.path("config.json"))
    layout = .huggingFace
    config = try ModelConfig(json: json, place: fields.place)
    let quantization = QuantizationSettings(config: json)
    names = CanonicalWeights(quantization)
    tokenizer = folder
    processors = [folder]
    endOfGenerationIDs = try Self.endIDs(of: folder, fields)
    let contents = try RawWeights.folder(folder)
    try names.add(contents.tensors, TensorNames.place, folder.path)
    try quantization.check(names.unused, folder.path)
    names.note(absent: contents.absent, TensorNames.place)
    names.tieTables(config.language)
    if try ModelConfig.nestedVision(fields) != nil {
      layout = fields.json["model_type"]?.string == "mipha_phi" ? .original : .llavaPhi
      try finishOriginal(folder)
    } else if fields.has("mm_vision_tower") {
      try completeOriginal(folder, fields)
    }
  }

  /// The adapter folder's own config, tokenizer and image processor override the base's.
  private mutating func takeFiles(_ folder: Folder) throws(LimnError) {
    if folder.holdsTokenizer { tokenizer = folder }
    processors.insert(folder, at: 0)
    guard let json = try folder.json("config.json") else { return }
    let fields = FieldReader(json: json, place: folder.path("config.json"))
    endOfGenerationIDs.formUnion(try Self.endIDs(of: folder, fields))
    let own = try ModelConfig(json: json, place: fields.place)
    // Where only the language model was trained, its config says nothing new.
    guard own.projector != nil else { return }
    let tower = config.vision
    config = own
    if fields.has("mm_vision_tower") { try completeOriginal(folder, fields, tower: tower) }
  }

  private mutating func completeOriginal(
    _ folder: Folder, _ fields: FieldReader, tower: VisionConfig? = nil
  ) throws(LimnError) {
    layout = .original
    if let tower {
      config.vision = tower
    } else if let found = try OriginalParts.complete(&config, &names, folder, fields) {
      processors.append(found)
      parts.append(found.absolute)
    }
    // "patch" leaves out the class token, which SigLIP does not have.
    if config.vision?.hasClassToken == false { config.keepsClassToken = true }
    try finishOriginal(folder)
  }

  private mutating func finishOriginal(_ folder: Folder) throws(LimnError) {
    try OriginalParts.requireProjector(names, folder)
  }

  /// Applies tensors that were trained in full, which replace the base's; the file is optional.
  private mutating func take(_ file: String, _ folder: Folder) throws(LimnError) {
    guard folder.has(file) else { return }
    let path = folder.path(file)
    try names.replace(with: try RawWeights.file(path), TensorNames.place, path)
  }

  /// preprocessor_config.json, or what takes its place. As in transformers 5, which nests it in
  /// processor_config.json, the older file does not count where both are there.
  func processorConfig() throws(LimnError) -> JSON? {
    for folder in processors {
      if let json = try folder.json("processor_config.json")?.present("image_processor") { return json }
      if let json = try folder.json("preprocessor_config.json") { return json }
    }
    return nil
  }

  /// What config.json and generation_config.json say ends an answer.
  static func endIDs(_ config: FieldReader, _ generation: FieldReader?) throws(LimnError) -> Set<Int> {
    var ids = Set(try config.ints("eos_token_id") ?? [])
    if let text = try config.object("text_config") { ids.formUnion(try text.ints("eos_token_id") ?? []) }
    if let generation { ids.formUnion(try generation.ints("eos_token_id") ?? []) }
    return ids
  }

  /// The same, where a folder may have the second one.
  static func endIDs(of folder: Folder, _ config: FieldReader) throws(LimnError) -> Set<Int> {
    let name = "generation_config.json"
    let generation = try folder.json(name).map { FieldReader(json: $0, place: folder.path(name)) }
    return try endIDs(config, generation)
  }
}

/// What a folder holds, judged by its contents.
enum FolderKind {
  /// All weights of a language model, and perhaps more.
  case model
  /// A LoRA adapter.
  case adapter
  /// Only mm_projector.bin, the result of LLaVA's first training stage.
  case projector
  case xtuner

  init(_ folder: Folder) {
    if XtunerParts.isLayout(of: folder) {
      self = .xtuner
    } else if RawWeights.isThere(folder) {
      self = .model
    } else if Adapter.exists(in: folder) {
      self = .adapter
    } else {
      self = folder.has("mm_projector.bin") ? .projector : .model
    }
  }

  /// A limit on chains of adapters, longer than anybody builds.
  private static let maxAdapters = 4

  /// The folder of the model that an adapter or projector belongs to.
  /// - Parameter named: the user's choice; nil: what the files name.
  func base(of folder: Folder, named: String?, depth: Int = 0) throws(LimnError) -> Folder {
    guard depth < Self.maxAdapters else {
      throw LimnError.badData(
        "adapters stand on adapters without end", in: folder.path, expected: "at most \(Self.maxAdapters)")
    }
    if let named {
      let base = Folder(path: named)
      guard base.isModel, base.absolute != folder.absolute else {
        throw LimnError(
          .notFound, "\(.base) names no model", in: named, expected: "the folder of a model, with its config.json")
      }
      return base
    }
    let names = try baseNames(folder)
    for name in names {
      if let base = folder.related(name) { return base }
    }
    guard let name = names.first else {
      throw LimnError(
        .notFound, "the folder does not say which model it belongs to", in: folder.path,
        remedy: "name that model's folder with \(.base)")
    }
    throw LimnError(
      .notFound, "the base model \(name) is not there", in: folder.path,
      expected: "its folder beside or inside this one, or in the Hugging Face cache",
      remedy: "fetch \(name), or name its folder with \(.base)")
  }

  private func baseNames(_ folder: Folder) throws(LimnError) -> [String] {
    let adapter = self == .xtuner ? Folder(path: folder.path("llm_adapter")) : folder
    var names: [String?] = [try adapter.json("adapter_config.json")?["base_model_name_or_path"]?.string]
    if self != .xtuner { names.append(try folder.json("config.json")?["_name_or_path"]?.string) }
    return names.compactMap(\.self).filter { !$0.isEmpty }
  }
}

extension Folder {
  /// Any of these files makes a tokenizer.
  var holdsTokenizer: Bool { ["tokenizer.json", "tokenizer.model", "vocab.json"].contains(where: has) }
}
