package import LimnCore
import LimnTensor

/// Whether a model fits into this computer's memory, and roughly how fast it answers there.
package struct Forecast: Sendable {
  /// What this computer has, and what the model takes with a full context, in bytes.
  package let memory: Int
  package let needed: Int
  /// From a question about a new picture to the first word of the answer, in seconds.
  package let firstWord: Double
  package let tokensPerSecond: Double

  package var fits: Bool { memory == 0 || needed <= memory - memory / 10 }

  /// What the best steps reach of the machine's ceilings.
  private static let efficiency = 0.6
  /// What a process takes besides weights, keys and values.
  private static let overhead = 50 << 20

  /// Measures the machine for a fraction of a second.
  /// - Parameter tiles: how many tiles an image has at most.
  package init(_ demand: ModelDemand, _ summary: ModelSummary, _ options: LoadOptions) throws(LimnError) {
    memory = Machine.memory
    needed = demand.bytes + Self.overhead
    let ceilings = try CPU(threads: options.threads, precision: options.precision).measureCeilings(isRough: true)
    tokensPerSecond = Self.efficiency * ceilings.readGBs * 1e9 / Double(demand.bytesPerStep)

    let images = summary.images
    // A question of some words, and the picture.
    let tokens = 50 + (images?.maxTokens ?? 0)
    let encode = Double((images?.maxTiles ?? 0) * demand.operationsPerTile) / (ceilings.bf16GFlops * 1e9)
    let prefill = Double(tokens * demand.operationsPerToken) / (ceilings.int8GOps * 1e9)
    firstWord = (encode + prefill) / Self.efficiency + 1 / tokensPerSecond
  }
}
