import LimnTensor

/// Decides who computes next, and for how long: a pure value that knows costs, not models.
///
/// Between two decode steps, which all answers under way share, there is a slice of time for reading: images and
/// prompts. A prompt is not cut into pieces as short as a slice: matrix products of few rows read every weight for
/// little work, and 150 ms are seven tokens on a small machine. Instead a pass takes as many rows as one *layer* computes
/// within a slice, some hundreds, and pauses between layers. So words keep their pace, a prompt its full speed, and a
/// cancelled request is noticed after a layer.
package struct Scheduler: Sendable {
  /// Durations in seconds.
  package struct Limits: Sendable {
    /// Reading between two decode steps.
    package var sliceBesideAnswers = 0.15
    /// Reading while nobody answers; an arrival ends it early.
    package var sliceAlone = 1.0
    /// Tokens of one pass.
    package var maxRows = 1024
    package var minRows = 16
    /// The end of a prompt with at most this many tokens goes along with a decode step.
    package var joinRows = 32

    package init() {}
  }

  package let limits: Limits
  /// Of one token in one layer of a prefill.
  private var rowLayer: Double
  /// Of a decode step, of an image's slice.
  private var decodeStep = 0.0
  private var imageSlice = 0.0

  /// - Parameters:
  ///   - operationsPerRowLayer: multiplications and additions of one token in one layer.
  ///   - operationsPerSecond: a guess, until something is measured.
  package init(_ limits: Limits, operationsPerRowLayer: Double, operationsPerSecond: Double) {
    self.limits = limits
    rowLayer = operationsPerRowLayer / operationsPerSecond
  }

  // MARK: Costs

  /// How much a measurement counts against those before it.
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

  /// Seconds that work will take, as far as is known.
  package func cost(_ work: Work) -> Double {
    switch work {
    case .prefill(let rows, let layers): Double(rows * layers) * rowLayer
    case .image(let slices): Double(slices) * imageSlice
    }
  }

  // MARK: Decisions

  /// What is left to read of something.
  package enum Work: Sendable {
    case prefill(rows: Int, layers: Int)
    case image(slices: Int)
  }

  /// How long reading may take before answers go on.
  package func slice(besideAnswers: Bool) -> Double {
    guard besideAnswers else { return limits.sliceAlone }
    // Of a small model whose words come every millisecond, reading takes its share and no more.
    return decodeStep == 0 ? limits.sliceBesideAnswers : min(limits.sliceBesideAnswers, max(0.004, 1.25 * decodeStep))
  }

  /// Tokens of the next pass: one layer of them fits into a slice.
  package func rowsPerPass(besideAnswers: Bool) -> Int {
    let layer = min(limits.sliceBesideAnswers, slice(besideAnswers: besideAnswers))
    let fitting = Int(min(Double(limits.maxRows), layer / max(rowLayer, 1e-12)))
    // Whole tiles of the matrix products.
    return max(limits.minRows, min(limits.maxRows, fitting / 16 * 16))
  }

  /// Which of several things to read goes on: the one that is done soonest, but what has waited for longer than that
  /// makes up is not passed by.
  /// - Parameter items: what is left of each, and how long ago it was asked for.
  package func next(_ items: [(work: Work, waited: Double)]) -> Int? {
    items.indices.min { cost(items[$0].work) - items[$0].waited < cost(items[$1].work) - items[$1].waited }
  }
}
