import Testing

import LimnCore
import LimnTensor

internal import CLimnKernels

/// The largest distance allowed between a fast and the exact result: 1 − cosine of all outputs.
private enum Budget {
  /// float32 sums of some hundred products, relative to the outputs' root mean square.
  static let float32 = 3e-6
  /// Both factors rounded to 8 bits of fraction.
  static let bfloat16 = 2e-5
  /// Activations rounded to 127 steps per 32 or 256 values, weights unchanged.
  static let int8 = 1e-4

  /// Weights and activations rounded to 8191 steps per 32 values.
  static let int16 = 2e-8
  /// The same for NF4 and FP4, whose values are bytes: half a step of 112 or 120.
  static let bytes = 1e-5

  static func angle(_ arithmetic: limn_arithmetic, _ type: TensorType) -> Double {
    switch arithmetic {
    case LIMN_INT8, LIMN_INT8_32: int8
    case LIMN_INT16: [.nf4, .nf4_F16, .nf4_BF16, .fp4, .fp4_F16, .fp4_BF16].contains(type) ? bytes : int16
    case LIMN_BFLOAT16: bfloat16
    default: 1e-10
    }
  }
}

/// x · weightᵀ + bias in double.
func product(_ x: [Float], _ weight: [Float], _ bias: [Float]?, columns: Int) -> [Double] {
  let rows = weight.count / columns
  return (0..<x.count / columns).flatMap { t in
    (0..<rows).map { r in
      var sum = Double(bias?[r] ?? 0)
      for k in 0..<columns { sum += Double(x[t * columns + k]) * Double(weight[r * columns + k]) }
      return sum
    }
  }
}

private let arithmetics = [
  LIMN_FLOAT32, LIMN_BFLOAT16, LIMN_INT8, LIMN_INT8_32, LIMN_INT16, LIMN_FLOAT32_ROWS,
]

@Suite struct LinearTests {
  @Test("exact products match sums in double precision for every type and shape", arguments: isas)
  func exactProducts(isa: ISA) throws {
    let cpu = try CPU(threads: 2, precision: .exact, isa: isa)
    for type in computableTypes {
      for (rows, columns, tokens) in [(1, 256, 1), (5, 512, 3), (16, 256, 12), (37, 256, 14)] {
        let weight = randomWeight(type, rows: rows, columns: columns, seed: UInt64(rows))
        var random = Random(7)
        let x = Rows(random.floats(tokens * columns), width: columns)
        let bias = random.floats(rows)
        let y = Rows(rows: tokens, width: rows)
        cpu.linear(
          x.activations, Linear(weight: Matrix(weight), bias: Vector(bias)), into: y.activations,
          adding: false, phase: .prefill)
        let values = try dequantized(weight)
        let expected = product(x.values, values, bias, columns: columns)
        #expect(
          distance(y.values, expected) < Budget.float32, "\(type) \(rows) × \(columns), \(tokens) tokens")
      }
    }
  }

  @Test("columns need not be a multiple of 256", arguments: isas)
  func shortBlocks(isa: ISA) throws {
    for precision in Precision.allCases {
      let cpu = try CPU(threads: 1, precision: precision, isa: isa)
      for (type, columns) in [
        (TensorType.f32, 1), (.f32, 10), (.f16, 299), (.bf16, 75), (.q8_0, 32), (.q4_0, 288), (.q4_1, 96),
        (.q5_0, 32), (.q5_1, 288), (.iq4_NL, 96), (.mxfp4, 288), (.nvfp4, 320), (.nf4, 64), (.fp4_BF16, 320),
        (.llmInt8, 192),
      ] {
        let weight = randomWeight(type, rows: 19, columns: columns, seed: 3)
        var random = Random(8)
        let x = Rows(random.floats(5 * columns), width: columns)
        let y = Rows(rows: 5, width: 19)
        let expected = product(x.values, try dequantized(weight), nil, columns: columns)
        for phase in [Phase.decode, .prefill] {
          cpu.linear(x.activations, Linear(weight: Matrix(weight)), into: y.activations, adding: false, phase: phase)
          #expect(
            distance(y.values, expected) < (precision == .exact ? Budget.float32 : 0.03),
            "\(type) \(columns) \(precision) \(phase)")
        }
      }
    }
  }

  @Test("adding accumulates the product onto the existing values")
  func adding() throws {
    let cpu = try CPU(threads: 1, precision: .exact)
    let weight = randomWeight(.f32, rows: 3, columns: 20, seed: 1)
    let x = Rows(Random(2).copyFloats(40), width: 20)
    let bias = Vector([1, 2, 3])
    let fresh = Rows(rows: 2, width: 3), added = Rows([10, 20, 30, 40, 50, 60], width: 3)
    cpu.linear(
      x.activations, Linear(weight: Matrix(weight), bias: bias), into: fresh.activations, adding: false,
      phase: .prefill)
    cpu.linear(
      x.activations, Linear(weight: Matrix(weight), bias: bias), into: added.activations, adding: true,
      phase: .prefill)
    #expect(added.values == zip([10, 20, 30, 40, 50, 60], fresh.values).map { $0 + $1 })
  }

  @Test("every arithmetic stays within its budget of the exact product", arguments: isas)
  func budgets(isa: ISA) throws {
    let cpu = try CPU(threads: 1, isa: isa)
    let recipes = Recipes(isa: isa)
    for type in computableTypes {
      let columns = 512, rows = 48, tokens = 7
      let weight = randomWeight(type, rows: rows, columns: columns, seed: 5)
      var random = Random(6)
      let x = Rows(random.floats(tokens * columns, 3), width: columns)
      let exact = product(x.values, try dequantized(weight), nil, columns: columns).map(Float.init)
      for arithmetic in arithmetics where recipes[type, arithmetic] != nil {
        let y = Rows(rows: tokens, width: rows)
        cpu.linear(
          x.activations, Linear(weight: Matrix(weight)), into: y.activations, adding: false,
          arithmetic: arithmetic)
        #expect(angle(y.values, exact) < Budget.angle(arithmetic, type), "\(type) \(arithmetic)")
      }
    }
  }

  @Test("sums of the largest values with equal scale and sign do not overflow", arguments: isas)
  func largestSums(isa: ISA) throws {
    let cpu = try CPU(threads: 1, isa: isa)
    let x = Rows([Float](repeating: 1, count: 7 * 256), width: 256)
    // d = 1, no minimum, all bits of the codes set.
    let formats: [(TensorType, head: [UInt8], bytes: Int, value: Int)] = [
      (.q4_0, [0, 0x3c], 18, 7), (.q4_1, [0, 0x3c, 0, 0], 20, 15), (.q5_0, [0, 0x3c], 22, 15),
      (.q5_1, [0, 0x3c, 0, 0], 24, 31),
    ]
    for (type, head, bytes, value) in formats {
      let block = head + [UInt8](repeating: 255, count: bytes - head.count)
      let row = [[UInt8]](repeating: block, count: 8).joined()
      let memory = try Memory(count: row.count) { $0.copyBytes(from: Array(row)) }
      let weight = Matrix(Tensor(type: type, shape: [1, 256], memory: memory, range: 0..<row.count))
      for arithmetic in arithmetics where Recipes(isa: isa)[type, arithmetic] != nil {
        let y = Rows(rows: 7, width: 1)
        cpu.linear(x.activations, Linear(weight: weight), into: y.activations, adding: false, arithmetic: arithmetic)
        #expect(y.values.allSatisfy { abs($0 / Float(256 * value) - 1) < 0.01 }, "\(type) \(arithmetic) \(y.values[0])")
      }
    }
  }

  @Test("integer and float32 products have the bits of the scalar reference", arguments: isas)
  func sameBitsAsScalar(isa: ISA) throws {
    let scalar = try CPU(threads: 1, isa: .scalar), vector = try CPU(threads: 1, isa: isa)
    for type in computableTypes {
      for arithmetic in arithmetics
      where arithmetic != LIMN_BFLOAT16 && Recipes(isa: isa)[type, arithmetic] != nil {
        // With one token, up to 16 blocks are summed at a time: 17 need one more pass.
        for (tokens, columns) in [(1, 512), (4, 512), (13, 512), (1, 17 * 256)] {
          let weight = Matrix(randomWeight(type, rows: 21, columns: columns, seed: 11))
          let x = Rows(Random(12).copyFloats(tokens * columns), width: columns)
          // The largest magnitudes and a block of zeros.
          for k in 0..<256 { x.activations.pointer[k] = 0 }
          for k in 256..<512 { x.activations.pointer[k] = k / 64 % 2 == 0 ? 1 : -1 }
          let a = Rows(rows: tokens, width: 21), b = Rows(rows: tokens, width: 21)
          scalar.linear(
            x.activations, Linear(weight: weight), into: a.activations, adding: false, arithmetic: arithmetic)
          vector.linear(
            x.activations, Linear(weight: weight), into: b.activations, adding: false, arithmetic: arithmetic)
          if type == .q6_K, arithmetic == LIMN_INT8 {
            // With AVX2 the offset is subtracted before the product with floats, not after it.
            #expect(distance(b.values, a.values.map(Double.init)) < Budget.float32, "\(tokens)")
          } else {
            #expect(a.values.map(\.bitPattern) == b.values.map(\.bitPattern), "\(type) \(arithmetic) \(tokens)")
          }
        }
      }
    }
  }

  @Test("bfloat16 products agree with the scalar reference", arguments: isas)
  func bfloat16(isa: ISA) throws {
    let scalar = try CPU(threads: 1, isa: .scalar), vector = try CPU(threads: 1, isa: isa)
    for type in [TensorType.f32, .f16, .bf16] where Recipes(isa: isa)[type, LIMN_BFLOAT16] != nil {
      for columns in [1, 255, 512] {
        let weight = Matrix(randomWeight(type, rows: 21, columns: columns, seed: 11))
        let x = Rows(Random(12).copyFloats(13 * columns), width: columns)
        let a = Rows(rows: 13, width: 21), b = Rows(rows: 13, width: 21)
        scalar.linear(
          x.activations, Linear(weight: weight), into: a.activations, adding: false, arithmetic: LIMN_BFLOAT16
        )
        vector.linear(
          x.activations, Linear(weight: weight), into: b.activations, adding: false, arithmetic: LIMN_BFLOAT16
        )
        #expect(distance(b.values, a.values.map(Double.init)) < Budget.float32, "\(type) \(columns)")
      }
    }
  }

  @Test(
    "a token's result has the same bits alone, in any batch, and on any number of threads", arguments: isas)
  func sameBitsInCompany(isa: ISA) throws {
    let one = try CPU(threads: 1, isa: isa), two = try CPU(threads: 2, isa: isa)
    var random = Random(21)
    for type in computableTypes {
      for arithmetic in arithmetics
      where Recipes(isa: isa)[type, arithmetic] != nil {
        let rows = Int.random(in: 1...70, using: &random),
          columns = 256 * [1, 2, 14, 15, 19].randomElement(using: &random)!  // long rows are split into parts
        let layer = Linear(
          weight: Matrix(randomWeight(type, rows: rows, columns: columns, seed: random.next())))
        let x = Rows(random.floats(40 * columns), width: columns)
        let alone = Rows(rows: 40, width: rows)
        for t in 0..<40 {
          one.linear(
            x.activations.rows(t..<t + 1), layer, into: alone.activations.rows(t..<t + 1), adding: false,
            arithmetic: arithmetic)
        }
        for count in [2, 3, 4, 5, 6, 12, 13, 25, 40] {
          let start = Int.random(in: 0...40 - count, using: &random)
          for cpu in [one, two] {
            let y = Rows(rows: count, width: rows)
            cpu.linear(
              x.activations.rows(start..<start + count), layer, into: y.activations, adding: false,
              arithmetic: arithmetic)
            let expected = alone.values[start * rows..<(start + count) * rows]
            #expect(
              y.values.map(\.bitPattern) == expected.map(\.bitPattern),
              "\(type) \(arithmetic), \(count) tokens, \(cpu.threads) threads")
          }
        }
      }
    }
  }
}

extension Random {
  /// Random numbers from a copy of the generator, whose state does not advance.
  func copyFloats(_ count: Int) -> [Float] {
    var copy = self
    return copy.floats(count)
  }
}
