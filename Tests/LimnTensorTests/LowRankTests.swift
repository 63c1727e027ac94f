import LimnTensor
import LimnTesting
import Testing

@Suite("Low-rank updates") struct LowRankTests {
  private static let types: [TensorType] = [.f32, .f16, .bf16]

  private func update(rows: Int, columns: Int, rank: Int, isTransposed: Bool) throws -> LowRankUpdate {
    var random = Random(3)
    let (outputs, inputs) = isTransposed ? (columns, rows) : (rows, columns)
    func matrix(_ rows: Int, _ columns: Int) throws -> Tensor {
      let values = try Tensor(floats: random.floats(rows * columns, 1))
      return Tensor(type: .f32, shape: [rows, columns], memory: values.memory, range: values.range)
    }
    return LowRankUpdate(
      a: try matrix(rank, inputs), b: try matrix(outputs, rank), scale: 0.375, isTransposed: isTransposed)
  }

  @Test("weight + scale · B · A is within one rounding of the exact sum, for any shape", arguments: isas)
  func exact(isa: ISA) throws {
    let cpu = try CPU(threads: 2, precision: .exact, isa: isa)
    for type in Self.types {
      for (rows, columns, rank) in [(1, 1, 1), (7, 65, 3), (12, 128, 5)] {
        for isTransposed in [false, true] {
          let weight = randomWeight(type, rows: rows, columns: columns, seed: 5)
          let update = try update(rows: rows, columns: columns, rank: rank, isTransposed: isTransposed)
          let merged = try cpu.merged(weight, update)
          let (a, b) = (try dequantized(update.a), try dequantized(update.b))
          #expect(merged.type == type && merged.shape == [rows, columns])
          let (before, after) = (try dequantized(weight), try dequantized(merged))
          let precision = type == .f32 ? 0x1p-22 : type == .f16 ? 0x1p-11 : 0x1p-8
          for row in 0..<rows {
            for column in 0..<columns {
              let (output, input) = isTransposed ? (column, row) : (row, column)
              var sum = Double(before[row * columns + column])
              var size = abs(sum)
              for k in 0..<rank {
                let inputs = a.count / rank
                let part = 0.375 * Double(b[output * rank + k]) * Double(a[k * inputs + input])
                sum += part
                size += abs(part)
              }
              let error = abs(Double(after[row * columns + column]) - sum)
              // The smallest half with full precision is 2⁻¹⁴; below it, the unit is 2⁻²⁴.
              #expect(error <= max(size * precision, 0x1p-25), "\(type) \(rows)×\(columns), \(row), \(column)")
            }
          }
        }
      }
    }
  }

  @Test("results have the bits of the scalar reference on any number of threads", arguments: isas)
  func sameBits(isa: ISA) throws {
    let scalar = try CPU(threads: 1, precision: .exact, isa: .scalar)
    for threads in [1, 3] {
      let cpu = try CPU(threads: threads, precision: .exact, isa: isa)
      for type in Self.types {
        for isTransposed in [false, true] {
          let weight = randomWeight(type, rows: 21, columns: 200, seed: 8)
          let update = try update(rows: 21, columns: 200, rank: 9, isTransposed: isTransposed)
          let (expected, got) = (try scalar.merged(weight, update), try cpu.merged(weight, update))
          #expect(expected.bytes.elementsEqual(got.bytes), "\(type)")
        }
      }
    }
  }
}
