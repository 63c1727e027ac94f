package import LimnFiles
package import LimnCore
import LimnImage
package import LimnTensor

/// What a model takes from a computer, from its headers alone: whether it fits, and how fast it can be at best, can be
/// said before a byte of its weights is fetched.
package struct ModelDemand: Sendable, Equatable {
  /// Bytes of all weights as they lie in memory.
  package var weights = 0
  /// Bytes of keys and values in a full context.
  package var keysAndValues = 0
  /// Bytes of working memory at most, for prompts and images.
  package var scratch = 0
  /// Bytes that the first decode step of an answer reads.
  package var bytesPerStep = 0
  /// Multiplications and additions in the matrix products of one prompt token.
  package var operationsPerToken = 0
  /// Multiplications and additions for one tile of an image; 0 without a vision tower.
  package var operationsPerTile = 0

  /// All that is in memory when a conversation fills the context.
  package var bytes: Int { weights + keysAndValues + scratch }

  /// - Parameters:
  ///   - checkpoint: may have headers alone; see `ModelHeaders`.
  ///   - context: longest prompt and answer together, in positions.
  ///   - storage: the type that keys and values are kept in.
  /// - Throws: bad data if tensors are missing or do not fit the config.
  package init(
    _ checkpoint: Checkpoint, context: Int, storage: KVType, rowsPerPass: Int = Scheduler.Limits().maxRows
  ) throws(LimnError) {
    let estimate = Estimate()
    let model = try Llava(
      checkpoint, context: context, quantization: nil, cpu: try CPU(threads: 1),
      placement: Placement(estimate, layers: checkpoint.config.language.layers), checksOnly: true)
    weights = estimate.figures.weights
    let language = model.language
    let rows = min(rowsPerPass, context)
    let full = try language.estimate(
      rows: rows, after: context - rows, wanted: 1, phase: .prefill, storage: storage)
    keysAndValues = full.keysAndValues
    scratch = full.scratch
    let first = try language.estimate(rows: 1, after: 0, wanted: 1, phase: .decode, storage: storage)
    bytesPerStep = first.weightsRead + first.keysAndValuesRead
    operationsPerToken =
      try language.estimate(rows: 1, after: 0, wanted: 0, phase: .prefill, storage: storage).operations
    if let tower = model.vision?.tower {
      let tile = try estimate.figures { () throws(LimnError) in
        let side = tower.config.imageSize
        let encoding = try ImageEncoding(ProcessedImage(blankWithSide: side), model)
        let step = Step(backend: estimate, scratch: Scratch(estimate))
        while encoding.slicesLeft > 0 { encoding.advance(step) }
      }
      operationsPerTile = tile.operations + tile.attention
      scratch += tile.scratch
    }
  }
}

extension ModelDemand {
  /// What a model takes as these options open it; nil if its parts are not there.
  package init?(of parts: ModelParts, _ options: LoadOptions) {
    guard let checkpoint = parts.checkpoint, let context = parts.context,
      let demand = try? ModelDemand(checkpoint, context: context, storage: options.storage)
    else { return nil }
    self = demand
  }
}
