import LimnFiles
import LimnCore
package import LimnTensor

extension LanguageModel {
  /// The cost of a step of one sequence, without computing it.
  /// - Parameters:
  ///   - rows: the number of tokens in the step.
  ///   - positions: how many positions the cache holds before the step.
  ///   - wanted: how many of the rows need logits.
  package func estimate(
    rows: Int, after positions: Int, wanted: Int, phase: Phase, storage: KVType
  ) throws(LimnError) -> Estimate.Figures {
    let estimate = Estimate()
    return try estimate.figures { () throws(LimnError) in
      let cache = try KVCache(
        layers: layerCount, kvHeads: config.kvHeads, headSize: config.headSize, capacity: positions + rows,
        storage: storage, on: estimate)
      let scratch = Scratch(estimate)
      let segment = Segment(
        cache: cache, rows: 0..<rows, wanted: wanted, position: positions, expectedLength: positions + rows)
      let step = Step(
        backend: estimate, scratch: scratch, segments: [segment], decodeRows: phase == .decode ? rows : 0)
      let x = scratch.take(rows: rows, width: config.hidden)
      let hidden = scratch.take(rows: wanted, width: config.hidden)
      for layer in 0..<layerCount {
        forward(x, layer: layer, step, wanted: layer == layerCount - 1 ? hidden : nil)
      }
      if wanted > 0 { logits(hidden, into: scratch.take(rows: wanted, width: config.vocabulary), step) }
    }
  }
}
