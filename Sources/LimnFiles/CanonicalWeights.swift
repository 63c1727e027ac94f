import LimnCore
import LimnTensor

/// Weights under their canonical names, gathered from one or more files; their bytes stay in those files.
struct CanonicalWeights {
  private(set) var weights: [String: Weight] = [:]
  private(set) var unused: [String] = []
  /// Where an index says that a tensor is, if it is not there; keyed by canonical name.
  private(set) var absent: [String: String] = [:]

  /// What the config says of quantised weights.
  private var quantization = QuantizationSettings()

  init(_ quantization: QuantizationSettings = QuantizationSettings()) { self.quantization = quantization }

  /// Adds the tensors of a file or folder.
  /// - Parameters:
  ///   - place: maps a tensor's name to its place in the model.
  ///   - source: the file or folder, for error messages.
  /// - Throws: bad data if two tensors claim one place, or if parts of quantised weights do not fit together.
  mutating func add(
    _ entries: [NamedTensor], _ place: (String) -> TensorPlace, _ source: String
  ) throws(LimnError) {
    var tensors: [String: Tensor] = [:]
    let named = named(entries, place)
    for (name, entry) in named {
      guard weights[name] == nil, tensors.updateValue(entry.tensor, forKey: name) == nil else {
        throw LimnError.badData("two tensors are \(name)", in: source, found: entry.name)
      }
    }
    weights.merge(try combined(tensors, named, source)) { $1 }
    noteScales(entries, place)
    noteOrderOfPatches()
  }

  /// Adds weights that already have canonical names.
  mutating func add(_ other: CanonicalWeights, _ source: String) throws(LimnError) {
    for (name, weight) in other.weights.sorted(by: { $0.key < $1.key }) {
      guard weights.updateValue(weight, forKey: name) == nil else {
        throw LimnError.badData("two tensors are \(name)", in: source)
      }
    }
    unused += other.unused
  }

  /// Replaces weights, and everything that belongs to them, with these tensors; the last one for a place wins.
  mutating func replace(
    with entries: [NamedTensor], _ place: (String) -> TensorPlace, _ source: String
  ) throws(LimnError) {
    let named = named(entries, place)
    weights.merge(try combined(Dictionary(named.map { ($0, $1.tensor) }) { $1 }, named, source)) { $1 }
  }

  /// The weights that these tensors make, some of them in several parts.
  private func combined(
    _ tensors: [String: Tensor], _ named: [(String, NamedTensor)], _ source: String
  ) throws(LimnError) -> [String: Weight] {
    var modules: [String: String] = [:]
    for (name, entry) in named {
      func module(_ name: String) -> String { name.split(separator: ".").dropLast().joined(separator: ".") }
      modules[module(name)] = module(entry.name)
    }
    var tensors = tensors
    let grouped = try GroupedWeights.take(from: &tensors, modules: modules, quantization, place: source)
    return grouped.merging(try Bitsandbytes.weights(tensors, place: source)) { $1 }
  }

  /// Records what an index says of tensors that are in none of its files. Most are of no use to anybody: a head that is
  /// the token table, frequencies that are computed.
  mutating func note(absent: [String: String], _ place: (String) -> TensorPlace) {
    for (tensor, file) in absent {
      if case .named(let name) = place(tensor) { self.absent[name] = file }
    }
  }

  /// Gives a weight a second name.
  mutating func alias(_ name: String, as other: String) { weights[other] = weights[name] }

  mutating func remove(_ name: String) { weights[name] = nil }

  /// Records what an adapter adds to an existing weight.
  mutating func add(_ update: LowRankUpdate, to name: String) { weights[name]?.updates.append(update) }

  /// Renames a weight and reorders its rows.
  mutating func rename(_ name: String, to other: String, rows: [Int32]) {
    guard var weight = weights.removeValue(forKey: name) else { return }
    weight.rows = rows
    weights[other] = weight
  }

  func has(_ prefix: String) -> Bool { weights.keys.contains { $0.hasPrefix(prefix) } }

  /// The tensors by canonical name; records those that have no place in the model.
  private mutating func named(
    _ entries: [NamedTensor], _ place: (String) -> TensorPlace
  ) -> [(String, NamedTensor)] {
    entries.compactMap { entry in
      switch place(entry.name) {
      case .named(let name): return (name, entry)
      case .leftover: return nil
      case .unknown:
        unused.append(entry.name)
        return nil
      }
    }
  }

  /// MLX stores convolutions with the channels last.
  private mutating func noteOrderOfPatches() {
    let name = "vision_tower.embeddings.patch_embedding.weight"
    guard let shape = weights[name]?.shape, shape.count == 4, shape[3] == 3, shape[1] == shape[2], shape[1] != 3
    else { return }
    weights[name]?.hasChannelsLast = true
  }

  /// A GGUF file may store X.scale beside X.weight, a factor for all its values: NVFP4's blocks are relative to it.
  private mutating func noteScales(_ entries: [NamedTensor], _ place: (String) -> TensorPlace) {
    let suffix = ".scale"
    for entry in entries where entry.name.hasSuffix(suffix) {
      if case .named(let weight) = place(entry.name.dropLast(suffix.count) + ".weight") {
        weights[weight]?.scaleName = entry.name
      }
    }
  }
}
