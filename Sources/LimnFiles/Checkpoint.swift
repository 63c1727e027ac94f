package import LimnTensor

/// A model as limn reads it, whatever its layout: what it is, its tensors by canonical name, and where its
/// tokenizer and its image processor's config are. Opening maps files and reads their headers.
package struct Checkpoint: Sendable {
  package enum Layout: String, Sendable {
    case huggingFace, original, gguf
  }

  /// As it was given.
  package let reference: String
  /// A short name: the folder's, or the file's without its extension.
  package let name: String
  package let layout: Layout
  package let config: ModelConfig
  /// By canonical name (docs/architecture.md).
  package let tensors: [String: Tensor]
  /// Those of `tensors` that are bitsandbytes' codes, with what the files keep beside them.
  package let quantized: [String: QuantizedWeight]
  /// Names in the files of tensors that nothing in the model has a place for.
  package let unused: [String]
  package let tokenizer: TokenizerSource
  /// preprocessor_config.json, or what takes its place; nil where nothing says how pictures are prepared.
  package let processorConfig: JSON?
  /// What generation_config.json and config.json say ends an answer.
  package let endOfGenerationIDs: Set<Int>

  /// Opens a model.
  /// - Parameters:
  ///   - reference: a folder in the layout of Hugging Face or of the original LLaVA, or a .gguf file.
  ///   - mmproj: the projector's file of a .gguf model; nil: the one beside it.
  package static func open(_ reference: String, mmproj: String? = nil) throws(LimnError) -> Checkpoint {
    guard Folder.exists(reference) else { throw RawWeights.notFound(reference) }
    guard Folder.isDirectory(reference) else {
      return try Checkpoint(reference, try GGUFPair(reference, mmproj: mmproj))
    }
    guard mmproj == nil else {
      throw LimnError(.usage, "--mmproj goes with a .gguf model, not with a folder", in: reference)
    }
    return try Checkpoint(Folder(path: reference))
  }

  /// A tensor by its canonical name.
  package func tensor(named name: String) throws(LimnError) -> Tensor {
    if let tensor = tensors[name] { return tensor }
    let near = tensors.keys.filter { $0.hasPrefix(name.prefix { $0 != "." }) }.count
    let stray = unused.prefix(3).joined(separator: ", ")
    throw LimnError.badData(
      "the checkpoint lacks the tensor \(name)", in: reference, expected: nil,
      found: "\(tensors.count) known tensors, \(near) of this part"
        + (unused.isEmpty ? "" : "; unknown ones are \(stray)\(unused.count > 3 ? ", …" : "")"),
      remedy: "`limn debug tensors --model \(reference)` lists what is there")
  }
}

extension Checkpoint {
  /// From a language model in GGUF and its projector file.
  fileprivate init(_ reference: String, _ pair: GGUFPair) throws(LimnError) {
    var names = CanonicalTensors()
    guard !pair.language.isProjector else {
      throw LimnError.badData(
        "this GGUF file is a vision tower with projector, not a language model", in: reference,
        remedy: "name the language model's .gguf file as the model, and this one with --mmproj")
    }
    try names.add(pair.language.tensors, GGUFNames(pair.language).place, pair.language.path)
    if let projector = pair.projector {
      guard projector.isProjector else {
        throw LimnError.badData(
          "the file given as projector is none", in: projector.path, expected: "general.architecture clip",
          found: projector.architecture ?? "none")
      }
      try names.add(projector.tensors, GGUFNames(projector).place, projector.path)
    }
    self.reference = reference
    name = Self.lastComponent(pair.language.path).replacing(".gguf", with: "")
    layout = .gguf
    config = try ModelConfig(pair)
    tensors = names.tensors
    quantized = [:]
    unused = names.unused
    tokenizer = .gguf(pair.language)
    processorConfig = pair.projector.flatMap(Self.processorConfig)
    endOfGenerationIDs = []
  }

  /// The colours' mean and deviation that a projector file may carry, as preprocessor_config.json writes them.
  private static func processorConfig(_ file: GGUF) -> JSON? {
    var object = JSONObject()
    for name in ["image_mean", "image_std"] {
      guard let values = file["clip.vision.\(name)"]?.floats, values.count == 3 else { continue }
      // Shortest digits: what the float32 was made from.
      object.set(name, to: .array(values.map { .number(Double("\($0)") ?? Double($0)) }))
    }
    return object.count == 0 ? nil : .object(object)
  }

  /// From a folder.
  fileprivate init(_ folder: Folder) throws(LimnError) {
    guard let json = try folder.json("config.json") else {
      let gguf = folder.names.first { $0.hasSuffix(".gguf") }
      throw LimnError(
        .notFound, "the folder has no config.json", in: folder.path, expected: "a model's folder",
        remedy: gguf.map { "name the file itself: \(folder.path($0))" } ?? "check the path")
    }
    let fields = ConfigReader(json: json, place: folder.path("config.json"))
    var config = try ModelConfig(json: json, place: fields.place)
    var names = CanonicalTensors()
    let weights = try RawWeights.folder(folder).tensors
    try names.add(weights, TensorNames.place, folder.path)
    var towerFolder: Folder?
    layout = fields.has("mm_vision_tower") ? .original : .huggingFace
    if layout == .original {
      towerFolder = try OriginalParts.complete(&config, &names, folder, fields)
      // Training scripts add tokens without noting it.
      if let rows = names.tensors["language_model.embed_tokens.weight"]?.shape.first {
        config.language.vocabulary = rows
      }
    }
    reference = folder.path
    name = Self.lastComponent(folder.path)
    self.config = config
    var tensors = names.tensors
    quantized = try Bitsandbytes.gather(&tensors, place: folder.path)
    self.tensors = tensors
    unused = names.unused
    tokenizer = .folder(path: folder.path)
    processorConfig = try Self.processorConfig(folder, towerFolder)
    endOfGenerationIDs = try Self.endIDs(folder, fields)
  }

  private static func processorConfig(_ folder: Folder, _ tower: Folder?) throws(LimnError) -> JSON? {
    if let json = try folder.json("preprocessor_config.json") { return json }
    if let json = try folder.json("processor_config.json")?.present("image_processor") { return json }
    return try tower?.json("preprocessor_config.json")
  }

  private static func endIDs(_ folder: Folder, _ fields: ConfigReader) throws(LimnError) -> Set<Int> {
    var ids = Set(try fields.ints("eos_token_id") ?? [])
    if let text = try fields.object("text_config") { ids.formUnion(try text.ints("eos_token_id") ?? []) }
    if let generation = try folder.json("generation_config.json") {
      let fields = ConfigReader(json: generation, place: folder.path("generation_config.json"))
      ids.formUnion(try fields.ints("eos_token_id") ?? [])
    }
    return ids
  }

  private static func lastComponent(_ path: String) -> String {
    let absolute = path.split(separator: "/").last.map(String.init) ?? path
    return absolute == "." || absolute == ".." ? path : absolute
  }
}

/// Tensors under their canonical names, gathered from one or more files.
struct CanonicalTensors {
  private(set) var tensors: [String: Tensor] = [:]
  private(set) var unused: [String] = []

  mutating func add(
    _ entries: [NamedTensor], _ place: (String) -> TensorPlace, _ source: String
  ) throws(LimnError) {
    for entry in entries {
      switch place(entry.name) {
      case .named(let name):
        guard tensors.updateValue(entry.tensor, forKey: name) == nil else {
          throw LimnError.badData("two tensors are \(name)", in: source, found: entry.name)
        }
      case .leftover: break
      case .unknown: unused.append(entry.name)
      }
    }
  }

  func has(_ prefix: String) -> Bool { tensors.keys.contains { $0.hasPrefix(prefix) } }
}
