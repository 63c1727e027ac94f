package import LimnFiles
package import LimnCore
package import LimnTensor

/// A decoder under LLaVA: embeddings in, logits out. It knows tokens, not text, and pictures only as embeddings.
package protocol LanguageModel: Sendable {
  /// Builds the model from a checkpoint's tensors.
  /// - Parameter context: how many positions its rotary tables cover.
  init(_ config: LanguageConfig, _ weights: inout WeightReader, context: Int) throws(LimnError)

  var config: LanguageConfig { get }

  /// The token table, [vocabulary, hidden].
  var embeddings: Matrix { get }

  /// The matrices of each layer, as they are multiplied with: of the type that quantising while opening gave them.
  var matrices: [[Matrix]] { get }

  /// The output head's matrix, [vocabulary, hidden].
  var head: Matrix { get }

  /// Runs all layers over x [tokens, hidden], which is overwritten; writes keys and values of the step's segments, and the
  /// hidden states of the rows that are wanted, [wanted rows, hidden].
  func forward(_ x: Activations, into hidden: Activations, _ step: Step)

  /// Final norm and output head: hidden states [rows, hidden] → logits [rows, vocabulary].
  func logits(_ hidden: Activations, into logits: Activations, _ step: Step)
}

extension LanguageModel {
  /// An empty cache for one sequence of at most `capacity` positions.
  package func makeCache(capacity: Int, storage: KVType) throws(LimnError) -> KVCache {
    try KVCache(
      layers: config.layers, kvHeads: config.kvHeads, headSize: config.headSize, capacity: capacity,
      storage: storage)
  }
}

/// The token table and the output head, tied or not: the same for every decoder.
struct TokenTables: Sendable {
  let embeddings: Matrix  // [vocabulary, hidden]
  let head: Linear  // [vocabulary, hidden]

  init(_ config: LanguageConfig, _ weights: inout WeightReader) throws(LimnError) {
    embeddings = try weights.matrix(
      "language_model.embed_tokens.weight", rows: config.vocabulary, columns: config.hidden)
    if weights.has("lm_head.weight") && !config.tiedEmbeddings {
      head = try weights.linear("lm_head", outputs: config.vocabulary, inputs: config.hidden)
    } else if config.tiedEmbeddings {
      head = Linear(weight: embeddings)
    } else {
      // Says that it is missing.
      head = try weights.linear("lm_head", outputs: config.vocabulary, inputs: config.hidden)
    }
  }

  /// Hidden states [rows, hidden], through the final norm and the head, to logits [rows, vocabulary].
  func logits(_ hidden: Activations, _ norm: some Norm, into logits: Activations, _ step: Step) {
    step.scratch.frame {
      let normed = step.scratch.take(rows: hidden.rows, width: hidden.width)
      norm.forward(hidden, into: normed, step)
      step.backend.linear(normed, head, into: logits, adding: false, phase: .decode)
    }
  }
}
