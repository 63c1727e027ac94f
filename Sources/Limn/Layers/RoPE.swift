import Foundation
import LimnFiles
import LimnTensor
import Synchronization

/// The rotary tables of a model: one for every sequence, or one chosen by the sequence's length.
struct RoPE: Sendable {
  private enum Tables: Sendable {
    case one(RoPETable)
    /// LongRoPE: a second one for sequences longer than `original`.
    case two(short: RoPETable, original: Int, long: RoPETable)
    /// Dynamic scaling: one for each length beyond the trained context.
    case perLength(DynamicTables)
  }

  private let tables: Tables

  /// - Parameter context: how many positions the tables must cover.
  init(_ config: LanguageConfig, context: Int, on backend: any Backend) {
    let plain = Self.frequencies(theta: config.ropeTheta, dimensions: config.rotaryDimensions)
    @Sendable func table(
      _ frequencies: [Float], amplitude: Double = 1, positions: Int? = nil
    ) -> RoPETable {
      RoPETable(
        inverseFrequencies: frequencies, headSize: config.headSize, positions: positions ?? context,
        style: config.ropeAdjacent ? .adjacent : .halves, amplitude: Float(amplitude), on: backend)
    }
    switch config.ropeScaling {
    case .none:
      tables = .one(table(plain))
    case .linear(let factor):
      tables = .one(table(plain.map { $0 / Float(factor) }))
    case .dynamic where context <= config.maxPositions:
      tables = .one(table(plain))
    case .dynamic(let factor):
      let (limit, dimensions) = (Double(config.maxPositions), Double(config.rotaryDimensions))
      let dynamic = DynamicTables(limit: config.maxPositions) { length in
        // The base grows with the length, which stretches the longest wave along with it.
        let stretch = factor * Double(max(length, config.maxPositions)) / limit - (factor - 1)
        let theta = config.ropeTheta * pow(stretch, dimensions / (dimensions - 2))
        return table(Self.frequencies(theta: theta, dimensions: config.rotaryDimensions), positions: length)
      }
      tables = .perLength(dynamic)
    case .llama3(let factor, let low, let high, let original):
      tables = .one(table(plain.map { Self.llama3($0, factor, low, high, original) }))
    case .longrope(let shortFactors, let longFactors, let original, let amplitude):
      func divided(by factors: [Double]) -> RoPETable {
        table(zip(plain, factors).map { 1 / (Float($1) * (1 / $0)) }, amplitude: amplitude)
      }
      tables =
        context > original
        ? .two(short: divided(by: shortFactors), original: original, long: divided(by: longFactors))
        : .one(divided(by: shortFactors))
    }
  }

  /// The table for a sequence of this length.
  func table(forLength length: Int) -> RoPETable {
    switch tables {
    case .one(let table): table
    case .two(let short, let original, let long): length > original ? long : short
    case .perLength(let dynamic): dynamic.table(forLength: length)
    }
  }

  /// θ^(−2i/d), computed as PyTorch does: exponents and powers in float32.
  private static func frequencies(theta: Double, dimensions: Int) -> [Float] {
    (0..<dimensions / 2).map { i in 1 / powf(Float(theta), Float(2 * i) / Float(dimensions)) }
  }

  /// The divisors by which Llama 3.1's scaling divides the frequencies; all 1 for other models.
  static func llama3Divisors(_ config: LanguageConfig) -> [Float] {
    let plain = frequencies(theta: config.ropeTheta, dimensions: config.rotaryDimensions)
    guard case .llama3(let factor, let low, let high, let original) = config.ropeScaling else {
      return plain.map { _ in 1 }
    }
    return plain.map { $0 / llama3($0, factor, low, high, original) }
  }

  /// Llama 3.1's scaling: long waves are stretched by `factor`, short ones kept, those in between blended.
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

/// Tables of dynamic scaling, each as long as the sequence that needs it. The most recent ones are kept, because
/// sequences in a batch take turns in every layer.
private final class DynamicTables: Sendable {
  private let limit: Int
  private let make: @Sendable (Int) -> RoPETable
  private let last: Mutex<[RoPETable]>
  /// The limit for all tables together, unless a single one exceeds it: 32 MB for heads of 128.
  private static let maxPositions = 1 << 16

  init(limit: Int, make: @escaping @Sendable (Int) -> RoPETable) {
    self.limit = limit
    self.make = make
    last = Mutex([make(limit)])
  }

  func table(forLength length: Int) -> RoPETable {
    let length = max(length, limit)
    return last.withLock { last in
      if let known = last.first(where: { $0.positions == length }) { return known }
      while !last.isEmpty, last.reduce(length, { $0 + $1.positions }) > Self.maxPositions { last.removeFirst() }
      last.append(make(length))
      return last[last.count - 1]
    }
  }
}
