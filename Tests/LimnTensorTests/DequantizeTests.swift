import LimnCore
import LimnTensor
import Testing

/// The types with fixtures; float32 needs none.
private let types = ggmlTypes.filter { $0 != .f32 }

@Suite struct DequantizeTests {
  @Test(
    "blocks dequantise to gguf-py's values bit for bit, for random patterns and edge-case scales",
    arguments: types)
  func blocksGiveReferenceValues(type: TensorType) throws {
    let blocks = try Fixture.bytes("\(type.rawValue).blocks")
    let expected = try Fixture.floats("\(type.rawValue).values")
    let values = try dequantized(tensor(type, [1, expected.count], blocks))
    #expect(values.map(\.bitPattern) == expected.map(\.bitPattern))
  }

  @Test("gathered rows give the same values on every instruction set", arguments: isas)
  func gatherGivesReferenceValues(isa: ISA) throws {
    let cpu = try CPU(threads: 2, isa: isa)
    for type in types {
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

  @Test("a tensor whose byte count does not match its shape is refused")
  func sizeAndShapeDisagree() {
    let bytes = [UInt8](repeating: 0, count: 34)
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [2, 32], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [1, 33], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.i8, [34], bytes)) }
    #expect(throws: LimnError.self) { try dequantized(tensor(.q8_0, [.max, 64], bytes)) }
  }

  @Test("rows that end inside a block are refused even if the whole tensor fills its blocks")
  func rowsEndInsideABlock() {
    for type in types where type.layout.elements > 1 {
      let (elements, bytes) = type.layout
      let blocks = [UInt8](repeating: 0, count: bytes)
      #expect(throws: LimnError.self, "\(type)") { try dequantized(tensor(type, [2, elements / 2], blocks)) }
    }
  }

  @Test("every type that the kernels know is tested, and other types are refused")
  func everyTypeIsTested() {
    #expect(Set(TensorType.allCases.filter(\.isComputable)) == Set(computableTypes))
  }
}
