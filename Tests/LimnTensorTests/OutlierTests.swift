import LimnTensor
import Testing

/// Trained models have channels whose activations are many times larger than the others'. Random activations have none,
/// and never show that a scale is shared by too many of them.
@Suite struct OutlierTests {
  private static let columns = 512, tokens = 7, rows = 48

  /// Random activations, 40 times as large in one channel of 256.
  private static let activations: [Float] = {
    var random = Random(31)
    return random.floats(tokens * columns).enumerated().map { $0 % 256 == 7 ? 40 * $1 : $1 }
  }()

  /// Activations as 127 steps of the largest magnitude of `group` neighbours.
  private static func rounded(group: Int) -> [Float] {
    stride(from: 0, to: activations.count, by: group).flatMap { start in
      let values = activations[start..<start + group]
      let step = values.map(abs).max()! / 127
      return values.map { ($0 / step).rounded(.toNearestOrEven) * step }
    }
  }

  /// The root mean square of the differences.
  private static func error(_ a: [Double], _ b: [Double]) -> Double {
    (zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Double(a.count)).squareRoot()
  }

  /// The errors of `fast` and of `rounded(group:)`, where only the activations are rounded.
  private static func errors(
    _ type: TensorType, _ isa: ISA, _ phase: Phase, weight: Tensor? = nil, _ rounded: [Float]
  ) throws -> (fast: Double, rounded: Double) {
    let cpu = try CPU(threads: 1, precision: .fast, isa: isa)
    let weight = weight ?? randomWeight(type, rows: rows, columns: columns, seed: 5)
    let values = try dequantized(weight)
    let x = Rows(activations, width: columns), y = Rows(rows: tokens, width: rows)
    cpu.linear(x.activations, Linear(weight: Matrix(weight)), into: y.activations, adding: false, phase: phase)
    let exact = product(activations, values, nil, columns: columns)
    return (
      error(y.values.map(Double.init), exact),
      error(product(rounded, values, nil, columns: columns), exact)
    )
  }

  @Test("a prompt is no further from exact than activations of 8 bits with a scale for every 32", arguments: isas)
  func prefill(isa: ISA) throws {
    // The tables of NF4 and FP4 are rounded to 8 bits as well. Formats with blocks of 256 have their own test.
    for type in computableTypes where type.layout.elements < 256 {
      let (fast, rounded) = try Self.errors(type, isa, .prefill, Self.rounded(group: 32))
      #expect(fast <= 1.1 * rounded, "\(type)")
    }
  }

  @Test("a prompt of a format with blocks of 256 is twice as exact as one scale for each block", arguments: isas)
  func prefillOfBlocks(isa: ISA) throws {
    for type in computableTypes where type.layout.elements == 256 {
      let (fast, rounded) = try Self.errors(type, isa, .prefill, Self.rounded(group: 256))
      // ARM has one scale for each block.
      #expect(fast <= (isa == .neon ? 1.1 * rounded : rounded / 2), "\(type)")
    }
  }

  @Test("an answer is no further from exact than activations of 8 bits with a scale for every block", arguments: isas)
  func decode(isa: ISA) throws {
    for type in computableTypes {
      let group = type.layout.elements == 256 ? 256 : 32
      let (fast, rounded) = try Self.errors(type, isa, .decode, Self.rounded(group: group))
      #expect(fast <= 1.1 * rounded, "\(type)")
    }
  }

  /// Activations rounded to a fraction of this many bits.
  private static func rounded(bits: Int) -> [Float] {
    activations.map { value in
      let unit = Float(sign: .plus, exponent: max(value.exponent, -100) - bits, significand: 1)
      return (value / unit).rounded(.toNearestOrEven) * unit
    }
  }

  /// A random weight, 64 times as small in one channel of 256.
  private static func compensating(_ type: TensorType) -> Tensor {
    let weight = randomWeight(type, rows: rows, columns: columns, seed: 5)
    let values = withExtendedLifetime(weight) { [UInt8](weight.bytes) }
    let exponent: UInt16 = type == .f16 ? 6 << 10 : 6 << 7
    let bytes = (0..<rows * columns).flatMap { index in
      let bits = UInt16(values[2 * index]) | UInt16(values[2 * index + 1]) << 8
      let smaller = index % 256 == 7 ? bits - exponent : bits
      return [UInt8(smaller & 255), UInt8(smaller >> 8)]
    }
    return tensor(type, [rows, columns], bytes)
  }

  @Test("a prompt of floats is no further from exact than activations of their own type", arguments: isas)
  func floats(isa: ISA) throws {
    for (type, bits) in [(TensorType.f16, 10), (.bf16, 7)] {
      let activations = Self.rounded(bits: bits)
      let outliers = try Self.errors(type, isa, .prefill, activations)
      #expect(outliers.fast <= 1.1 * outliers.rounded, "\(type)")
      // Where small weights make up for the outliers, what the neighbours lose is not hidden behind them.
      let hidden = try Self.errors(type, isa, .prefill, weight: Self.compensating(type), activations)
      #expect(hidden.fast <= 1.1 * hidden.rounded, "\(type), with small weights behind the outliers")
    }
  }
}
