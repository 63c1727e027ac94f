import CLimnSystem

/// Cosines and sines for rotary position embeddings, computed once per model for every position of its context.
package final class RoPETable: Sendable {
  /// Which values of a head are rotated together.
  package enum Style: Sendable {
    /// Value i with value i + dimensions / 2: Hugging Face checkpoints, and GGUF's phi2 and phi3.
    case halves
    /// Value 2i with value 2i + 1: GGUF's llama, whose converter permuted the rows of q and k.
    case adjacent
  }

  package let style: Style
  /// How many values of each head are rotated; the rest pass through (Phi-2: 32 of 80).
  package let dimensions: Int
  /// Values per head.
  package let headSize: Int
  package let positions: Int
  package let cosines: Vector  // [positions, dimensions / 2]
  package let sines: Vector  // [positions, dimensions / 2]

  /// - Parameters:
  ///   - inverseFrequencies: dimensions / 2 of them, after any scaling.
  ///   - amplitude: multiplies both tables; 1 except for YaRN and LongRoPE.
  package init(
    inverseFrequencies: [Float], headSize: Int, positions: Int, style: Style, amplitude: Float = 1,
    on backend: any Backend
  ) {
    let half = inverseFrequencies.count
    precondition(half * 2 <= headSize)
    self.style = style
    self.dimensions = half * 2
    self.headSize = headSize
    self.positions = positions
    var cosines = [Float](repeating: 0, count: positions * half)
    var sines = cosines
    for position in 0..<positions {
      for i in 0..<half {
        let angle = Float(position) * inverseFrequencies[i]
        cosines[position * half + i] = cosf(angle) * amplitude
        sines[position * half + i] = sinf(angle) * amplitude
      }
    }
    self.cosines = backend.place(cosines)
    self.sines = backend.place(sines)
  }
}
