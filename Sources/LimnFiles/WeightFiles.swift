import Foundation
package import LimnCore
package import LimnTensor

/// All tensors of a model reference as its files store them: works for any architecture and builds no model.
package struct RawWeights: Sendable {
  package struct Entry: Sendable {
    /// The name in the file.
    package let name: String
    /// The name in the model; nil where nothing in the model has this place.
    package let modelName: String?
    package let tensor: Tensor

    /// Whether it lies beside the codes of a quantised weight, and is none of its own.
    package var isCompanion: Bool {
      let leaf = name.split(separator: ".").last ?? ""
      return Bitsandbytes.isCompanion(name: name) || GroupedWeights.isPart(leaf) && leaf != "qweight"
    }
  }

  /// In the order of the files.
  package let tensors: [Entry]

  /// The tensors of a folder (safetensors or PyTorch files), or of a GGUF file and its projector file.
  /// - Parameter location: its model may also be a single file in any of the three formats.
  package static func open(_ location: ModelLocation) throws(LimnError) -> RawWeights {
    let location = try location.resolved(), model = location.model
    guard Folder.exists(model) else { throw notFound(model) }
    if Folder.isDirectory(model) { return try parts(Folder(path: model)) }
    guard GGUF.begins(model) || model.hasSuffix(".gguf") else {
      return RawWeights(try file(model), TensorNames.place)
    }
    let pair = try GGUFPair(location)
    return RawWeights(
      tensors: [pair.language, pair.projector].compactMap(\.self).flatMap { file in
        RawWeights(file.tensors, GGUFNames(file).place).tensors
      })
  }

  private init(tensors: [Entry]) { self.tensors = tensors }

  init(_ tensors: [NamedTensor], _ place: (String) -> TensorPlace) {
    self.tensors = tensors.map { tensor in
      var modelName: String?
      if case .named(let name) = place(tensor.name) { modelName = name }
      return Entry(name: tensor.name, modelName: modelName, tensor: tensor.tensor)
    }
  }

  /// Everything in a folder, whatever its layout, but nothing from other folders.
  private static func parts(_ place: Folder) throws(LimnError) -> RawWeights {
    var tensors: [Entry] = []
    func add(_ file: String, _ place: (String) -> TensorPlace = TensorNames.place) throws(LimnError) {
      tensors += RawWeights(try self.file(file), place).tensors
    }
    func addFolder(_ name: String, _ naming: (String) -> TensorPlace) throws(LimnError) {
      let part = Folder(path: place.path(name))
      if Adapter.exists(in: part) { try add(try Adapter.file(part), naming) }
      if isThere(part) { tensors += RawWeights(try folder(part).tensors, naming).tensors }
    }
    let kind = FolderKind(place)
    if kind == .model || isThere(place) { tensors += RawWeights(try folder(place).tensors, TensorNames.place).tensors }
    switch kind {
    case .model: break
    case .adapter: try add(try Adapter.file(place))
    case .projector: try add(place.path("mm_projector.bin"))
    case .xtuner:
      try addFolder("llm_adapter", TensorNames.place)
      try addFolder("visual_encoder", TensorNames.clip)
      try addFolder("visual_encoder_adapter", TensorNames.clip)
      try addFolder("projector", TensorNames.xtunerProjector)
    }
    if kind == .adapter, place.has("non_lora_trainables.bin") { try add(place.path("non_lora_trainables.bin")) }
    return RawWeights(tensors: tensors)
  }

  /// A tensor combined with its companions: for bitsandbytes' codes, the quantised matrix.
  package func weight(of entry: Entry) throws(LimnError) -> Weight {
    let byName = Dictionary(tensors.map { ($0.name, $0.tensor) }) { first, _ in first }
    let place = entry.tensor.memory.path ?? entry.name
    return try Bitsandbytes.weight(entry.name, among: byName, place: place) ?? Weight(entry.tensor)
  }

  static func notFound(_ reference: String) -> LimnError {
    LimnError(
      .notFound, code: .modelNotFound, "no such model", in: reference,
      expected: "a folder or a .gguf file on this machine",
      remedy: "check the path")
  }

  /// The tensors of one file, whose extension names the format; but a GGUF file is one under any name.
  static func file(_ path: String) throws(LimnError) -> [NamedTensor] {
    if path.hasSuffix(".safetensors") { return try Safetensors(path: path).tensors }
    if path.hasSuffix(".gguf") || GGUF.begins(path) { return try GGUF(path: path).tensors }
    return try PyTorchFile(path: path).tensors
  }

  /// The weight files of a folder, in this order of preference: safetensors before PyTorch's, a single file before
  /// shards with an index, and shards before files without an index.
  static func folder(_ folder: Folder) throws(LimnError) -> FolderContents {
    for (single, suffix) in [("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")] {
      let index = single + ".index.json"
      if folder.has(single) {
        let path = folder.path(single)
        return FolderContents(tensors: try file(path), files: [path])
      }
      if folder.has(index) { return try sharded(folder, index: index) }
      let names = loose(folder, suffix)
      if !names.isEmpty { return try joined(names.map(folder.path)) }
    }
    let gguf = folder.names.filter { $0.hasSuffix(".gguf") }
    throw LimnError(
      .notFound, "the folder holds no weights", in: folder.path,
      expected: "*.safetensors, pytorch_model*.bin or a .gguf file",
      remedy: gguf.isEmpty
        ? "fetch the model's weight files" : "name the file itself: \(folder.path(gguf[0]))")
  }

  /// Whether a folder holds a model's weights, or an index that names their files.
  static func isThere(_ folder: Folder) -> Bool {
    [("model.safetensors", ".safetensors"), ("pytorch_model.bin", ".bin")].contains { single, suffix in
      folder.has(single) || folder.has(single + ".index.json") || !loose(folder, suffix).isEmpty
    }
  }

  /// Weight files that no index names.
  private static func loose(_ folder: Folder, _ suffix: String) -> [String] {
    folder.names.filter { name in
      name.hasSuffix(suffix) && !extras.contains { name.hasPrefix($0) }
        && (suffix == ".safetensors" || name.hasPrefix("pytorch_model"))
    }
  }

  /// Files that often lie beside a model's weights but hold none of them.
  private static let extras = [
    "adapter_model", "non_lora_trainables", "mm_projector", "training_args", "optimizer", "scheduler",
    "consolidated",
  ]

  /// Shards, as an index lists them: {"weight_map": {tensor: file}}.
  ///
  /// What the shards hold counts. The index decides only which of two tensors with one name is meant.
  private static func sharded(_ folder: Folder, index: String) throws(LimnError) -> FolderContents {
    guard let map = try folder.json(index)?["weight_map"]?.object else {
      throw LimnError.badData("the index has no weight_map", in: folder.path(index))
    }
    var shards: [String] = []
    var known: Set<ExactString> = []
    var shardOf: [ExactString: String] = [:]
    for (tensor, value) in map.members {
      guard let shard = value.string else {
        throw LimnError.badData("weight_map is wrong", in: folder.path(index), expected: "file names")
      }
      if known.insert(ExactString(shard)).inserted { shards.append(shard) }
      shardOf[ExactString(tensor)] = shard
    }
    var contents = FolderContents(tensors: [], files: [])
    var places: [ExactString: Int] = [:]
    for shard in shards {
      let path = try folder.file(shard, namedBy: index)
      contents.files.append(path)
      for tensor in try file(path) {
        let name = ExactString(tensor.name)
        if let place = places[name] {
          if shardOf[name] == shard { contents.tensors[place] = tensor }
        } else {
          places[name] = contents.tensors.count
          contents.tensors.append(tensor)
        }
      }
    }
    for tensor in map.keys where places[ExactString(tensor)] == nil {
      contents.absent[tensor] = shardOf[ExactString(tensor)]
    }
    return contents
  }

  /// Several files without an index: no tensor may occur in two of them.
  private static func joined(_ paths: [String]) throws(LimnError) -> FolderContents {
    var tensors: [NamedTensor] = []
    var seen: Set<ExactString> = []
    for path in paths {
      for tensor in try file(path) {
        guard seen.insert(ExactString(tensor.name)).inserted else {
          throw LimnError.badData("the tensor \(tensor.name) stands in another file too", in: path)
        }
        tensors.append(tensor)
      }
    }
    return FolderContents(tensors: tensors, files: paths)
  }
}

/// What the weight files of a folder hold.
struct FolderContents {
  var tensors: [NamedTensor]
  var files: [String]
  /// The file that the index names for each tensor that is in none of the files.
  var absent: [String: String] = [:]
}
