import LimnCore
import LimnFiles
import LimnTensor

/// One layer of a decoder, the building block of a language model. See `LlamaLayer`.
protocol DecoderLayer: Sendable {
  associatedtype FinalNorm: Norm

  /// - Parameter prefix: the prefix of its weights' canonical names, "language_model.layers.3".
  init(_ prefix: String, _ config: LanguageConfig, _ rope: RoPE, _ weights: inout WeightReader) throws(LimnError)

  /// The norm after the last layer.
  static func finalNorm(_ config: LanguageConfig, _ weights: inout WeightReader) throws(LimnError) -> FinalNorm

  /// Adds the layer's output to x [tokens, hidden], in place; writes keys and values to the caches.
  /// - Parameter wanted: non-nil for the last layer; see `Step.narrowed`.
  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?)
}

/// A language model: the token table, a stack of layers of the same kind, a norm and the output head.
struct Decoder<Layer: DecoderLayer>: LanguageModel {
  let config: LanguageConfig
  let placement: Placement
  private let embeddings: Matrix  // [vocabulary, hidden]
  private let layers: [Layer]
  private let norm: Layer.FinalNorm
  private let head: Linear  // [vocabulary, hidden]

  init(
    _ config: LanguageConfig, _ weights: inout WeightReader, context: Int, placement: Placement
  ) throws(LimnError) {
    self.config = config
    self.placement = placement
    let ropes = placement.backends.map { RoPE(config, context: context, on: $0) }
    var layers: [Layer] = []
    for index in 0..<config.layers {
      weights.backend = placement.backends[placement.layers[index]]
      layers.append(
        try Layer("language_model.layers.\(index)", config, ropes[placement.layers[index]], &weights))
    }
    self.layers = layers
    weights.backend = placement.backends[placement.tables]
    embeddings = try weights.matrix(
      "language_model.embed_tokens.weight", rows: config.vocabulary, columns: config.hidden)
    if let rows = weights.rows(of: "lm_head.weight"), rows != config.vocabulary {
      throw .badData(
        "the token table and the output head are for different vocabularies", in: weights.checkpoint.reference,
        expected: "\(config.vocabulary) rows in lm_head.weight, as in the table", found: "\(rows)",
        remedy: "the weights are of different models; fetch both again")
    }
    // If a head is missing and the table does not stand for it, reading it reports that.
    head = try weights.linear(
      "lm_head", outputs: config.vocabulary, inputs: config.hidden, weight: config.tiedEmbeddings ? embeddings : nil)
    norm = try Layer.finalNorm(config, &weights)
    guard head.adapters.isEmpty else {
      throw .badData(
        "the adapter changes the output head, which has to take it in", in: weights.checkpoint.reference,
        remedy: "merge the adapter, or leave the head out of its target_modules")
    }
  }

  func embed(_ ids: UnsafeBufferPointer<Int32>, into x: Activations) {
    placement.backends[placement.tables].gather(ids, from: embeddings, into: x)
  }

  func forward(_ x: Activations, layer: Int, _ step: Step, wanted: Activations?) {
    layers[layer].forward(x, layer: layer, step, wanted: wanted)
  }

  func normalise(_ hidden: Activations, into normed: Activations, _ step: Step) {
    norm.forward(hidden, into: normed, step)
  }

  func logits(_ hidden: Activations, into logits: Activations, _ step: Step) {
    step.scratch.frame {
      let normed = step.scratch.take(rows: hidden.rows, width: hidden.width)
      normalise(hidden, into: normed, step)
      step.backend.linear(normed, head, into: logits, adding: false, phase: .decode)
    }
  }
}
