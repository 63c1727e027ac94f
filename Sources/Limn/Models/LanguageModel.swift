package import LimnCore
package import LimnFiles
package import LimnTensor

/// A decoder under LLaVA: embeddings in, logits out. It knows tokens, not text, and images only as embeddings.
package protocol LanguageModel: Sendable {
  /// Builds the model from a checkpoint's tensors.
  /// - Parameters:
  ///   - context: how many positions its rotary tables cover.
  ///   - placement: which backend holds and computes each layer.
  init(_ config: LanguageConfig, _ weights: inout WeightReader, context: Int, placement: Placement) throws(LimnError)

  var config: LanguageConfig { get }
  var placement: Placement { get }

  /// Embeddings of tokens [ids.count, hidden], on the backend of the tables.
  func embed(_ ids: UnsafeBufferPointer<Int32>, into x: Activations)

  /// Runs one layer over x [tokens, hidden], which is overwritten, and writes keys and values of the step's segments.
  /// - Parameter wanted: given for the last layer, the hidden states of the rows that are wanted, [wanted rows, hidden].
  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?)

  /// Final norm and output head: hidden states [rows, hidden] → logits [rows, vocabulary].
  func logits(_ hidden: Activations, into logits: Activations, _ step: Step)
}

extension LanguageModel {
  package var layerCount: Int { config.layers }

  /// An empty cache for one sequence of at most `capacity` positions.
  package func makeCache(capacity: Int, storage: KVType) throws(LimnError) -> KVCache {
    try KVCache(
      layers: config.layers, kvHeads: config.kvHeads, headSize: config.headSize, capacity: capacity,
      storage: storage, on: { placement.backends[placement.layers[$0]] })
  }

  /// Copies the first positions of one sequence's cache to another's, which then holds just these.
  package func copy(_ cache: KVCache, positions: Int, into other: KVCache) {
    for layer in 0..<layerCount {
      placement.backends[placement.layers[layer]].copy(cache, layer: layer, positions: positions, into: other)
    }
    other.count = positions
  }
}

/// Which backend holds and computes what: the seam along which a model is split between devices.
package struct Placement: Sendable {
  package let backends: [any Backend]
  /// For each layer, the index of its backend.
  package let layers: [Int]
  /// The index of the backend of the token table and the output head, where hidden states come from and go to.
  package let tables: Int

  package init(backends: [any Backend], layers: [Int], tables: Int = 0) {
    precondition(layers.allSatisfy(backends.indices.contains) && backends.indices.contains(tables))
    self.backends = backends
    self.layers = layers
    self.tables = tables
  }

  /// Everything on one backend.
  package init(_ backend: any Backend, layers: Int) {
    self.init(backends: [backend], layers: [Int](repeating: 0, count: layers))
  }
}
