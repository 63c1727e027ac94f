import LimnTensor
import Testing

@Suite struct DequantizeTests {
  @Test(
    "blocks give the values of gguf-py to the bit, for random patterns and edge-case scales",
    arguments: [TensorType.f16, .bf16, .q8_0, .q4_0, .q4_K, .q6_K])
  func blocksGiveReferenceValues(type: TensorType) throws {
    let blocks = try Fixture.bytes("\(type.rawValue).blocks")
    let expected = try Fixture.floats("\(type.rawValue).values")
    let values = try dequantized(tensor(type, [1, expected.count], blocks))
    #expect(values.map(\.bitPattern) == expected.map(\.bitPattern))
  }

  @Test("gathered rows give the same values on every instruction set", arguments: isas)
  func gatherGivesReferenceValues(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    for type in [TensorType.f16, .bf16, .q8_0, .q4_0, .q4_K, .q6_K] {
      let blocks = try Fixture.bytes("\(type.rawValue).blocks")
      let expected = try Fixture.floats("\(type.rawValue).values")
      let columns = type.layout.elements, rows = expected.count / columns
      let table = Matrix(tensor(type, [rows, columns], blocks))
      let ids = (0..<rows).reversed().map(Int32.init)
      let y = Rows(rows: rows, width: columns)
      ids.withUnsafeBufferPointer { cpu.gather($0, from: table, into: y.activations) }
      let inOrder = ids.flatMap { expected[Int($0) * columns..<(Int($0) + 1) * columns] }
      #expect(y.values.map(\.bitPattern) == inOrder.map(\.bitPattern), "\(type)")
    }
  }

  @Test("a tensor whose bytes do not fit its shape is refused")
  func sizeAndShapeDisagree() {
    let bytes = [UInt8](repeating: 0, count: 34)
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [2, 32], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [1, 33], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.i8, [34], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [.max, 64], bytes)) }
  }
}
