import Foundation
import LimnCore
import LimnTensor
import Testing

private let blockTypes: [TensorType] = [
  .q8_0, .q4_0, .q5_0, .q5_1, .q4_K, .q5_K, .q6_K, .q2_K, .q3_K, .iq4_NL, .iq4_XS,
]

/// F32 weights [rows, columns].
private func weights(_ values: [Float], columns: Int) -> Tensor {
  tensor(.f32, [values.count / columns, columns], values.withUnsafeBytes { [UInt8]($0) })
}

private func encoded(
  _ weights: Tensor, as type: TensorType, order: [Int32]? = nil, isa: ISA? = nil
) throws -> (bytes: [UInt8], loss: EncodingLoss) {
  var bytes: [UInt8] = []
  let encoder = try WeightEncoder(threads: 2, isa: isa)
  let loss = try encoder.encode(weights, order: order, as: type, name: "w") { bytes += $0 }
  return (bytes, loss)
}

@Suite struct WeightEncoderTests {
  /// From Tools/fixtures/quantizing.py: rows of eight distributions.
  private let rows: [Float]
  private let columns = 768

  init() throws { rows = try Fixture.floats("quantize.x") }

  @Test("no row loses more than with ggml's quantisers", arguments: blockTypes)
  func noWorseThanReference(type: TensorType) throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/kernels/quantize.errors.json")
    let json = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: [Double]]
    let reference = try #require(json?[type.rawValue])
    #expect(reference.count == rows.count / columns)
    for (row, limit) in reference.enumerated() {
      let x = Array(rows[row * columns..<(row + 1) * columns])
      let loss = try encoded(weights(x, columns: columns), as: type).loss
      let error = (loss.error / Double(columns)).squareRoot()
      #expect(error <= limit * 1.000_01, "row \(row)")
    }
  }

  @Test("every instruction set writes the bytes of the scalar reference", arguments: isas)
  func sameBytes(isa: ISA) throws {
    // Zeros, equal values, a single non-zero value, very small and large values; incomplete batches.
    var edges = [Float](repeating: 0, count: 256) + [Float](repeating: 0.37, count: 256)
    edges += (0..<256).map { $0 == 5 ? 3 : 0 } + (0..<256).map { Float($0 - 128) * 1e-9 }
    edges += (0..<256).map { Float($0 % 7) * 900 - 3000 }
    for values in [rows, edges] {
      for type in blockTypes + [.f16, .bf16] {
        let x = weights(values, columns: values.count == edges.count ? 256 : columns)
        #expect(try encoded(x, as: type, isa: isa).bytes == encoded(x, as: type, isa: .scalar).bytes, "\(type)")
      }
    }
    let narrow = weights(Array(rows[..<960]), columns: 96)
    for type in [TensorType.q8_0, .q4_0, .q5_0, .q5_1, .iq4_NL] {
      #expect(
        try encoded(narrow, as: type, isa: isa).bytes == encoded(narrow, as: type, isa: .scalar).bytes, "\(type)")
    }
  }

  @Test("Q8_0 has ggml's bytes; F16 and BF16 are plain conversions")
  func sameAsReference() throws {
    #expect(
      try encoded(weights(rows, columns: columns), as: .q8_0).bytes == Fixture.bytes("quantize.Q8_0"))
    for type in [TensorType.f16, .bf16] {
      let values = try Fixture.floats("\(type.rawValue).values")
      let finite = values.indices.filter { values[$0].isFinite }
      let bytes = try Fixture.bytes("\(type.rawValue).blocks")
      let expected = finite.flatMap { bytes[2 * $0...2 * $0 + 1] }
      let result = try encoded(weights(finite.map { values[$0] }, columns: finite.count), as: type)
      #expect(result.bytes == expected && result.loss.error == 0)
    }
  }

  @Test("the reported loss is the error of the decoded weights", arguments: blockTypes + [.f16])
  func lossIsTrue(type: TensorType) throws {
    let (bytes, loss) = try encoded(weights(rows, columns: columns), as: type)
    #expect(bytes.count == type.byteCount(elements: rows.count))
    let norm = rows.reduce(0) { $0 + Double($1) * Double($1) }
    #expect(abs(loss.norm / norm - 1) < 1e-4)
    let values = try dequantized(tensor(type, [rows.count / columns, columns], bytes))
    let error = zip(rows, values).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    #expect(abs(loss.error / error - 1) < 1e-3)
  }

  @Test("values that a type can represent are preserved exactly")
  func exactValues() throws {
    for (type, codes) in [(TensorType.q8_0, -127...127), (.q4_0, -8...7), (.q5_0, -16...15), (.q6_K, -32...31)] {
      let all = Array(codes)
      // Every group of 16 contains the lowest code, with the codes in another order.
      let x = (0..<512).map { i in
        (i % 16 == 0 ? Float(type == .q8_0 ? 127 : all[0]) : Float(all[i * 7 % all.count])) * 0.03125
      }
      let result = try encoded(weights(x, columns: 256), as: type)
      #expect(result.loss.error == 0, "\(type)")
    }
    for type in blockTypes {
      let zeros = try encoded(weights([Float](repeating: 0, count: 512), columns: 256), as: type)
      #expect(zeros.loss.error == 0 && zeros.loss.relative == 0)
    }
  }

  @Test("a weight that is NaN or too large for the type is refused with the tensor's name")
  func badValues() throws {
    for type in blockTypes + [.f16] {
      for bad in [Float.nan, .infinity, -.infinity, 3e38] {
        var x = rows
        x[1000] = bad
        let error = try #require(throws: LimnError.self) {
          _ = try encoded(weights(x, columns: columns), as: type)
        }
        #expect(error.kind == .badData && error.what.description.contains("tensor w "), "\(type) \(bad)")
      }
    }
    #expect(throws: LimnError.self) { try encoded(weights(rows, columns: 48), as: .q4_K) }
    #expect(throws: LimnError.self) { try encoded(tensor(.i8, [2, 2], [1, 2, 3, 4]), as: .f16) }
  }

  @Test("rows can be reordered, repeated and left out, with and without a change of type")
  func order() throws {
    let x = weights(Array(rows[..<1024]), columns: 256)
    let order: [Int32] = [3, 1, 1, 0]
    let moved = order.flatMap { rows[Int($0) * 256..<(Int($0) + 1) * 256] }
    let expected = weights(moved, columns: 256)
    for type in [TensorType.f32, .f16, .q4_K] {
      #expect(try encoded(x, as: type, order: order).bytes == encoded(expected, as: type).bytes)
    }
  }

  @Test("a tensor larger than one conversion batch gives the same result")
  func pieces() throws {
    // 6 MB as F16: more than one write.
    let x = [Float](repeating: 0.5, count: 3 << 20)
    var calls = 0
    var count = 0
    let loss = try WeightEncoder(threads: 2).encode(weights(x, columns: 1024), as: .f16, name: "w") {
      calls += 1
      count += $0.count
      #expect($0.bindMemory(to: UInt16.self).allSatisfy { $0 == 0x3800 })
    }
    #expect(calls > 1 && count == 6 << 20 && loss.error == 0)
  }
}
