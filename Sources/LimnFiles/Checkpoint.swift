package import LimnCore
package import LimnTensor

/// A model as limn reads it, whatever its layout: its config, its weights by canonical name, and where its tokenizer
/// and its image processor's config are. Opening maps files and reads their headers; it computes nothing.
package struct Checkpoint: Sendable {
  package enum Layout: String, Sendable {
    case huggingFace, original, gguf, xtuner, llavaPhi
  }

  /// The path as the caller gave it.
  package let reference: String
  /// A short name: the folder's, or the file's without its extension.
  package let name: String
  package let layout: Layout
  package let config: ModelConfig
  /// Keyed by canonical name (docs/architecture.md).
  package internal(set) var weights: [String: Weight]
  /// Names, as in the files, of tensors that have no place in the model.
  package let unused: [String]
  /// The file that an index names for each tensor that is in none of the files; keyed by canonical name.
  private var absent: [String: String] = [:]
  /// The name of the projector's file; nil if the projector is in the model's own files.
  package let projectorFile: String?
  /// Names of other projector files in the folder that would have fitted as well.
  package let otherProjectors: [String]
  /// Other folders that the model was assembled from: an adapter's base, a vision tower.
  package let parts: [String]
  package let tokenizer: TokenizerSource
  /// preprocessor_config.json or its equivalent; nil if nothing says how images are prepared.
  package let processorConfig: JSON?
  /// The tokens that end an answer, as generation_config.json and config.json list them.
  package let endOfGenerationIDs: Set<Int>

  /// Opens a model.
  /// - Throws: `notFound` if a file is missing; wrong usage for a projector or a base that the model has no use for;
  ///   bad data.
  package static func open(_ location: ModelLocation) throws(LimnError) -> Checkpoint {
    let location = try location.resolved(), model = location.model
    guard Folder.exists(model) else { throw RawWeights.notFound(model) }
    guard Folder.isDirectory(model) else {
      guard location.base == nil else {
        throw LimnError(.usage, "\(.base) goes with the folder of an adapter or a projector", in: model)
      }
      return try Checkpoint(model, try GGUFPair(location))
    }
    guard location.projector == nil else {
      throw LimnError(.usage, "\(.projector) goes with a .gguf model, not with a folder", in: model)
    }
    return try Checkpoint(Folder(path: model), base: location.base)
  }

  /// A weight by its canonical name.
  package func weight(named name: String) throws(LimnError) -> Weight {
    if let weight = weights[name] { return weight }
    if let file = absent[name] {
      throw LimnError.badData(
        "the index says that the tensor \(name) is in \(file), which does not hold it", in: reference,
        remedy: "fetch \(file) and the index again")
    }
    let tables = [CanonicalWeights.tokenTable, CanonicalWeights.outputHead]
    if tables.contains(name), let other = tables.first(where: { weights[$0] != nil }) {
      throw LimnError.badData(
        "the checkpoint holds \(other) but no \(name), and its config does not say that they are one", in: reference,
        expected: "both, or tie_word_embeddings true",
        remedy: "fetch the missing weights, or set tie_word_embeddings in config.json if there are none")
    }
    let near = weights.keys.filter { $0.hasPrefix(name.prefix { $0 != "." }) }.count
    let stray = unused.prefix(3).joined(separator: ", ")
    throw LimnError.badData(
      "the checkpoint lacks the tensor \(name)", in: reference, expected: nil,
      found: "\(weights.count) known tensors, \(near) of this part"
        + (unused.isEmpty ? "" : "; unknown ones are \(stray)\(unused.count > 3 ? ", …" : "")"),
      remedy: "`limn debug tensors --model \(reference)` lists what is there")
  }
}

extension Checkpoint {
  /// From a language model in GGUF and its projector file.
  init(_ reference: String, _ pair: GGUFPair) throws(LimnError) {
    var names = CanonicalWeights()
    guard !pair.language.isProjector else {
      throw LimnError.badData(
        "this GGUF file is a vision tower with projector, not a language model", in: reference,
        remedy: "name the language model's .gguf file as the model, and this one with \(.projector)")
    }
    if let projector = pair.projector, !projector.isProjector {
      throw LimnError.badData(
        "the file given as projector is none", in: projector.path, expected: "general.architecture clip",
        found: projector.architecture ?? "none")
    }
    try pair.check()
    try names.add(pair.language.tensors, GGUFNames(pair.language).place, pair.language.path)
    if let projector = pair.projector {
      try names.add(projector.tensors, GGUFNames(projector).place, projector.path)
    }
    self.reference = reference
    name = GGUF.stem(of: Self.lastComponent(pair.language.path))
    layout = .gguf
    config = try ModelConfig(pair)
    weights = names.weights
    unused = names.unused
    projectorFile = pair.projector.map { $0.path.split(separator: "/").last.map(String.init) ?? $0.path }
    otherProjectors = pair.alternatives
    parts = []
    tokenizer = .gguf(pair.language)
    processorConfig = pair.projector.flatMap(Self.processorConfig)
    endOfGenerationIDs = []
  }

  /// The mean and the standard deviation of the colours, if the projector file has them, as preprocessor_config.json
  /// writes them.
  private static func processorConfig(_ file: GGUF) -> JSON? {
    var object = JSONObject()
    for name in ["image_mean", "image_std"] {
      guard let values = file["clip.vision.\(name)"]?.floats, values.count == 3 else { continue }
      // The shortest digits that give this float32: what it was converted from.
      object.set(name, to: .array(values.map { .number(Double("\($0)") ?? Double($0)) }))
    }
    return object.count == 0 ? nil : .object(object)
  }

  /// From a folder and those that belong to it.
  fileprivate init(_ folder: Folder, base: String?) throws(LimnError) {
    let model = try ModelAssembly(folder, base: base)
    var (config, names) = (model.config, model.names)
    names.settle(&config.language)
    try names.regroupFusedHeads(config.language, folder.path)
    reference = folder.path
    name = Self.lastComponent(folder.path)
    layout = model.layout
    self.config = config
    weights = names.weights
    unused = names.unused
    absent = names.absent
    projectorFile = nil
    otherProjectors = []
    parts = model.parts
    tokenizer = .folder(path: model.tokenizer.path)
    processorConfig = try model.processorConfig()
    endOfGenerationIDs = model.endOfGenerationIDs
  }

  /// Of headers that no files are behind.
  init(
    reference: String, layout: Layout, config: ModelConfig, names: CanonicalWeights, endOfGenerationIDs: Set<Int>
  ) {
    self.reference = reference
    name = Self.lastComponent(reference)
    self.layout = layout
    self.config = config
    weights = names.weights
    unused = names.unused
    projectorFile = nil
    otherProjectors = []
    parts = []
    tokenizer = .folder(path: reference)
    processorConfig = nil
    self.endOfGenerationIDs = endOfGenerationIDs
  }

  private static func lastComponent(_ path: String) -> String {
    let absolute = path.split(separator: "/").last.map(String.init) ?? path
    return absolute == "." || absolute == ".." ? path : absolute
  }
}
