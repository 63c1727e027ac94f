package import LimnCore
package import LimnFiles
package import LimnTensor

/// The decoder inside LLaVA: embeddings in, logits out. It knows tokens, not text, and images only as embeddings.
package protocol LanguageModel: Sendable {
  /// Builds the model from a checkpoint's tensors.
  /// - Parameters:
  ///   - context: how many positions its rotary tables cover.
  ///   - placement: which backend holds and computes each layer.
  init(_ config: LanguageConfig, _ weights: inout WeightReader, context: Int, placement: Placement) throws(LimnError)

  var config: LanguageConfig { get }
  var placement: Placement { get }

  /// Writes the embeddings of tokens to x [ids.count, hidden], on the backend of the tables.
  func embed(_ ids: UnsafeBufferPointer<Int32>, into x: Activations)

  /// Runs one layer over x [tokens, hidden], in place, and writes the keys and values of the step's segments.
  /// - Parameter wanted: non-nil for the last layer: receives the hidden states of the wanted rows,
  ///   [wanted rows, hidden].
  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?)

  /// Final norm: hidden states [rows, hidden] → the same shape.
  func normalise(_ hidden: Activations, into normed: Activations, _ step: Step)

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

  /// Copies the first positions of one sequence's cache into another's, which afterwards holds exactly these.
  package func copy(_ cache: KVCache, positions: Int, into other: KVCache) {
    for layer in 0..<layerCount {
      placement.backends[placement.layers[layer]].copy(cache, layer: layer, positions: positions, into: other)
    }
    other.count = positions
  }
}

/// Which backend holds and computes what; a model is split between devices along this line.
package struct Placement: Sendable {
  package let backends: [any Backend]
  /// The index of each layer's backend.
  package let layers: [Int]
  /// The index of the backend that has the token table and the output head, where a pass begins and ends.
  package let tables: Int

  package init(backends: [any Backend], layers: [Int], tables: Int = 0) {
    precondition(layers.allSatisfy(backends.indices.contains) && backends.indices.contains(tables))
    self.backends = backends
    self.layers = layers
    self.tables = tables
  }

  /// Places everything on one backend.
  package init(_ backend: any Backend, layers: Int) {
    self.init(backends: [backend], layers: [Int](repeating: 0, count: layers))
  }
}
