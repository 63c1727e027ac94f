import LimnTensor

/// Decides which work comes next, and for how long. A plain value that knows costs, not models.
///
/// Between two decode steps, which all decoding sequences share, there is a slice of time for encoding images and for
/// prefill. A prompt is not cut into pieces that fit a slice: a matrix product of few rows reads every weight for
/// little work, and 150 ms are only seven tokens on a small machine. Instead, a pass takes as many rows as one *layer*
/// can compute within a slice, which is some hundreds, and pauses between layers. So decoding keeps its pace, prefill
/// keeps its full speed, and a cancelled request is noticed after one matrix product.
package struct Scheduler: Sendable {
  /// Durations in seconds.
  package struct Limits: Sendable {
    /// For prefill and images between two decode steps.
    package var sliceBesideAnswers = 0.15
    /// For prefill and images while no sequence decodes; a new request ends the slice early.
    package var sliceAlone = 1.0
    /// For one layer of a pass while no sequence decodes. Longer passes read each weight for more tokens; shorter ones
    /// let a new request in earlier.
    package var layerAlone = 0.35
    /// The most tokens in one pass.
    package var maxRows = 1024
    package var minRows = 16
    /// A prompt with at most this many tokens left joins a decode step.
    package var joinRows = 32

    package init() {}
  }

  package let limits: Limits
  /// The time of one token in one layer of prefill.
  private var rowLayer: Double
  /// The times of a decode step, and of an image's slice.
  private var decodeStep = 0.0
  private var imageSlice = 0.0

  /// - Parameters:
  ///   - operationsPerRowLayer: multiplications and additions of one token in one layer.
  ///   - operationsPerSecond: an estimate, used until something is measured.
  package init(_ limits: Limits, operationsPerRowLayer: Double, operationsPerSecond: Double) {
    self.limits = limits
    rowLayer = operationsPerRowLayer / operationsPerSecond
  }

  // MARK: Costs

  /// How much a new measurement counts against earlier ones.
  private static let weight = 0.3

  private static func mix(_ old: inout Double, _ new: Double) {
    old = old == 0 ? new : old + weight * (new - old)
  }

  package mutating func measured(prefillLayers layers: Int, rows: Int, seconds: Double) {
    guard layers * rows > 0 else { return }
    Self.mix(&rowLayer, seconds / Double(layers * rows))
  }

  package mutating func measured(decodeStep seconds: Double) { Self.mix(&decodeStep, seconds) }
  package mutating func measured(imageSlice seconds: Double) { Self.mix(&imageSlice, seconds) }

  /// The time that work will take, in seconds, as far as is known.
  package func cost(_ work: Work) -> Double {
    switch work {
    case .prefill(let rows, let layers): Double(rows * layers) * rowLayer
    case .image(let slices): Double(slices) * imageSlice
    }
  }

  // MARK: Decisions

  /// The work that is left of a prompt or an image.
  package enum Work: Sendable {
    case prefill(rows: Int, layers: Int)
    case image(slices: Int)
  }

  /// How long prefill and images may take before the next decode step.
  package func slice(besideAnswers: Bool) -> Double {
    guard besideAnswers else { return limits.sliceAlone }
    // A small model decodes a token every millisecond; prefill then takes its share of the time and no more.
    return decodeStep == 0 ? limits.sliceBesideAnswers : min(limits.sliceBesideAnswers, max(0.004, decodeStep))
  }

  /// Number of tokens in the next pass: one layer of them fits into a slice, or two beside answers, because a layer takes
  /// longer the more positions lie before it.
  package func rowsPerPass(besideAnswers: Bool) -> Int {
    let layer = besideAnswers ? slice(besideAnswers: true) / 2 : min(limits.layerAlone, limits.sliceAlone)
    let fitting = Int(min(Double(limits.maxRows), layer / max(rowLayer, 1e-12)))
    // Matrix products want whole tiles.
    return max(limits.minRows, min(limits.maxRows, fitting / 16 * 16))
  }

  /// Chooses which item goes on: the one that finishes soonest, unless another has waited for longer than the
  /// difference.
  /// - Parameter items: the work left of each, and how many seconds ago it was requested.
  package func next(_ items: [(work: Work, waited: Double)]) -> Int? {
    items.indices.min { cost(items[$0].work) - items[$0].waited < cost(items[$1].work) - items[$1].waited }
  }
}
