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
  /// - Returns: nil for a model of which too little is known.
  package init?(_ summary: ModelSummary, _ options: LoadOptions) throws(LimnError) {
    guard let context = summary.context, let language = summary.language, summary.parameters.total > 0 else {
      return nil
    }
    let storage = options.kvType ?? (options.precision == .exact ? .f32 : .f16)
    let weights = summary.types.reduce(0) { $0 + $1.bytes }
    memory = Machine.memory
    needed = weights + (context.keyValueBytesPerPosition[storage.rawValue] ?? 0) * context.used + Self.overhead

    let cpu = try CPU(threads: options.threads, precision: options.precision)
    let ceilings = cpu.measureCeilings(isRough: true)
    let bytesPerWeight = Double(weights) / Double(summary.parameters.total)
    // Of the embedding table a token reads one row.
    let read = Double(
      max(summary.parameters.language / 2, summary.parameters.language - language.vocabulary * language.hidden))
    tokensPerSecond = Self.efficiency * ceilings.readGBs * 1e9 / (read * bytesPerWeight)

    var (tokens, patches) = (50, 0)
    if let images = summary.images, let vision = summary.vision {
      let side = vision.imageSize / max(1, vision.patchSize)
      tokens += images.maxTokens
      patches = images.maxTiles * side * side
    }
    let operations = Double(2 * summary.parameters.vision * patches) / (ceilings.bf16GFlops * 1e9)
    let prefill = 2 * read * Double(tokens) / (ceilings.int8GOps * 1e9)
    firstWord = (operations + prefill) / Self.efficiency + 1 / tokensPerSecond
  }
}
