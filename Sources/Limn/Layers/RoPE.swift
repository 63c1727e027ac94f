import Foundation
import LimnFiles
import LimnTensor

/// The rotary tables of a model; LongRoPE has two, and the length of the sequence decides.
struct RoPE: Sendable {
  private let short: RoPETable
  private let long: (from: Int, table: RoPETable)?

  /// - Parameter context: how many positions the tables cover.
  init(_ config: LanguageConfig, context: Int) {
    let plain = Self.frequencies(theta: config.ropeTheta, dimensions: config.rotaryDimensions)
    func table(_ frequencies: [Float], amplitude: Double = 1) -> RoPETable {
      RoPETable(
        inverseFrequencies: frequencies, headSize: config.headSize, positions: context,
        style: config.ropeAdjacent ? .adjacent : .halves, amplitude: Float(amplitude))
    }
    switch config.ropeScaling {
    case .none:
      (short, long) = (table(plain), nil)
    case .linear(let factor):
      (short, long) = (table(plain.map { $0 / Float(factor) }), nil)
    case .dynamic(let factor):
      // Within the trained context nothing is scaled; beyond it the base grows with the length.
      let limit = Double(config.maxPositions)
      let d = Double(config.rotaryDimensions)
      let grown = config.ropeTheta * pow(factor * Double(context) / limit - (factor - 1), d / (d - 2))
      let stretched = Self.frequencies(theta: grown, dimensions: config.rotaryDimensions)
      short = table(plain)
      long = context > config.maxPositions ? (config.maxPositions, table(stretched)) : nil
    case .llama3(let factor, let low, let high, let original):
      (short, long) = (table(plain.map { Self.llama3($0, factor, low, high, original) }), nil)
    case .longrope(let shortFactors, let longFactors, let original, let factor):
      let amplitude = factor
      short = table(zip(plain, shortFactors).map { $0 / Float($1) }, amplitude: amplitude)
      long = context > original
        ? (original, table(zip(plain, longFactors).map { $0 / Float($1) }, amplitude: amplitude)) : nil
    }
  }

  /// The table for a sequence of so many positions in all.
  func table(forLength length: Int) -> RoPETable {
    if let long, length > long.from { return long.table }
    return short
  }

  /// θ^(−2i/d), computed as PyTorch does: exponents and powers in float32.
  private static func frequencies(theta: Double, dimensions: Int) -> [Float] {
    (0..<dimensions / 2).map { i in 1 / powf(Float(theta), Float(2 * i) / Float(dimensions)) }
  }

  /// Llama 3.1's scaling: long waves are stretched by `factor`, short ones kept, those between blended.
  private static func llama3(
    _ frequency: Float, _ factor: Double, _ low: Double, _ high: Double, _ original: Int
  ) -> Float {
    let wavelength = 2 * Float.pi / frequency
    if wavelength > Float(Double(original) / low) { return frequency / Float(factor) }
    if wavelength < Float(Double(original) / high) { return frequency }
    let blend = (Float(original) / wavelength - Float(low)) / Float(high - low)
    return (1 - blend) * frequency / Float(factor) + blend * frequency
  }
}
