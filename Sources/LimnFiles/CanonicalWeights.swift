import LimnCore
import LimnTensor

/// Weights under their canonical names, gathered from one or more files; their bytes stay in those files.
struct CanonicalWeights {
  private(set) var weights: [String: Weight] = [:]
  private(set) var unused: [String] = []

  /// Adds the tensors of a file or folder.
  /// - Parameters:
  ///   - place: maps a tensor's name to its place in the model.
  ///   - source: the file or folder, for error messages.
  /// - Throws: bad data if two tensors claim one place, or if bitsandbytes' parts do not fit together.
  mutating func add(
    _ entries: [NamedTensor], _ place: (String) -> TensorPlace, _ source: String
  ) throws(LimnError) {
    var tensors: [String: Tensor] = [:]
    for (name, entry) in named(entries, place) {
      guard weights[name] == nil, tensors.updateValue(entry.tensor, forKey: name) == nil else {
        throw LimnError.badData("two tensors are \(name)", in: source, found: entry.name)
      }
    }
    weights.merge(try Bitsandbytes.weights(tensors, place: source)) { $1 }
    noteScales(entries, place)
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
    let tensors = Dictionary(named(entries, place).map { ($0, $1.tensor) }) { $1 }
    weights.merge(try Bitsandbytes.weights(tensors, place: source)) { $1 }
  }

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
