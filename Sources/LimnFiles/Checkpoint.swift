package import LimnCore
package import LimnTensor

/// A model as limn reads it, whatever its layout: what it is, its tensors by canonical name, and where its
/// tokenizer and its image processor's config are. Opening maps files and reads their headers.
package struct Checkpoint: Sendable {
  package enum Layout: String, Sendable {
    case huggingFace, original, gguf, xtuner, llavaPhi
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
  /// What adapters add to some of `tensors`, in this order; none where they were merged while opening.
  package let updates: [String: [AdapterUpdate]]
  /// Names in the files of tensors that nothing in the model has a place for.
  package let unused: [String]
  /// Folders beside `reference` that the model was put together from: an adapter's base, a vision tower.
  package let parts: [String]
  package let tokenizer: TokenizerSource
  /// preprocessor_config.json, or what takes its place; nil where nothing says how pictures are prepared.
  package let processorConfig: JSON?
  /// What generation_config.json and config.json say ends an answer.
  package let endOfGenerationIDs: Set<Int>

  /// Opens a model.
  /// - Parameters:
  ///   - reference: a folder in any of the layouts of docs/formats.md, or a .gguf file.
  ///   - mmproj: the projector's file of a .gguf model; nil: the one beside it.
  ///   - base: the folder of the model that an adapter or a projector belongs to; nil: the one that its files name.
  ///   - merges: whether `tensors` already hold what adapters add to them. Only these are copied, the rest stays mapped.
  ///     They hold it in any case where an adapter changes projections that are stacked head by head.
  package static func open(
    _ reference: String, mmproj: String? = nil, base: String? = nil, merges: Bool = true
  ) throws(LimnError) -> Checkpoint {
    guard Folder.exists(reference) else { throw RawWeights.notFound(reference) }
    guard Folder.isDirectory(reference) else {
      guard base == nil else {
        throw LimnError(.usage, "--base goes with the folder of an adapter or a projector", in: reference)
      }
      return try Checkpoint(reference, try GGUFPair(reference, mmproj: mmproj))
    }
    guard mmproj == nil else {
      throw LimnError(.usage, "--mmproj goes with a .gguf model, not with a folder", in: reference)
    }
    return try Checkpoint(Folder(path: reference), base: base, merges: merges)
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
    updates = [:]
    unused = names.unused
    parts = []
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

  /// From a folder and those that belong to it.
  fileprivate init(_ folder: Folder, base: String?, merges: Bool) throws(LimnError) {
    let model = try ModelAssembly(folder, base: base)
    var names = model.names
    // Rows of fused heads change their places, and what is added would have to follow.
    if merges || names.updatesFusedHeads { try names.merge() }
    try names.regroupFusedHeads(model.config.language, folder.path)
    reference = folder.path
    name = Self.lastComponent(folder.path)
    layout = model.layout
    config = model.config
    var tensors = names.tensors
    quantized = try Bitsandbytes.gather(&tensors, place: folder.path)
    self.tensors = tensors
    updates = names.updates
    unused = names.unused
    parts = model.parts
    tokenizer = .folder(path: model.tokenizer.path)
    processorConfig = try model.processorConfig()
    endOfGenerationIDs = model.endOfGenerationIDs
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
  /// What adapters add to some of them, in this order.
  private(set) var updates: [String: [AdapterUpdate]] = [:]

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

  /// Tensors that have their names already.
  mutating func add(_ other: CanonicalTensors, _ source: String) throws(LimnError) {
    for (name, tensor) in other.tensors.sorted(by: { $0.key < $1.key }) {
      guard tensors.updateValue(tensor, forKey: name) == nil else {
        throw LimnError.badData("two tensors are \(name)", in: source)
      }
    }
    unused += other.unused
    updates.merge(other.updates) { $0 + $1 }
  }

  mutating func add(_ update: AdapterUpdate, to name: String) { updates[name, default: []].append(update) }

  /// Puts what adapters add into the tensors.
  mutating func merge() throws(LimnError) {
    if updates.isEmpty { return }
    let cpu = try CPU(precision: .exact)
    for (name, parts) in updates.sorted(by: { $0.key < $1.key }) {
      for part in parts {
        if let tensor = tensors[name] { tensors[name] = try part.merged(into: tensor, on: cpu) }
      }
    }
    updates = [:]
  }

  mutating func set(_ name: String, _ tensor: Tensor) {
    tensors[name] = tensor
    updates[name] = nil
  }

  mutating func remove(_ name: String) {
    tensors[name] = nil
    updates[name] = nil
  }

  /// A tensor that takes the place of the one that is there, if there is one.
  mutating func replace(
    _ tensor: Tensor, named name: String, _ place: (String) -> TensorPlace
  ) {
    switch place(name) {
    case .named(let name): set(name, tensor)
    case .leftover: break
    case .unknown: unused.append(name)
    }
  }

  func has(_ prefix: String) -> Bool { tensors.keys.contains { $0.hasPrefix(prefix) } }
}
