import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite struct WriterTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)

  init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }

  private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  /// Writes a file whose tensors' bytes count up.
  private func write(_ layout: WeightFileLayout, _ name: String) throws {
    let file = try AtomicFile(path(name))
    try file.write(layout.header)
    for (tensor, padding) in zip(layout.tensors, layout.padding) {
      try file.write((0..<tensor.byteCount).map { UInt8(truncatingIfNeeded: $0) })
      try file.write([UInt8](repeating: 0, count: padding))
    }
    try file.finish()
    try file.publish()
  }

  @Test("a GGUF file reads back with metadata of every kind and tensors of several types and shapes")
  func gguf() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let other = try GGUF(path: Fixtures.path("v3.gguf"))
    var metadata: [(key: String, value: GGUFMetadata)] = [
      ("m.bool", .bool(true)), ("m.u32", .u32(4_000_000_000)), ("m.f32", .f32(0.1)), ("m.text", .string("é 天")),
      ("m.texts", .strings(["a", "", "▁b"])), ("m.ints", .i32s([-1, 7])), ("m.floats", .f32s([0.5, -2])),
    ]
    metadata += other.metadata.map { ($0.key, .copy($0.value)) }
    let headers = [
      try TensorHeader(name: "a.weight", type: .q4_K, shape: [3, 256]),
      try TensorHeader(name: "b.bias", type: .f32, shape: [5]),
      try TensorHeader(name: "c", type: .f16, shape: [2, 3, 2, 2]),
    ]
    let layout = try GGUFWriter.layout(metadata.filter { $0.key != "general.alignment" }, headers)
    try write(layout, "x.gguf")
    let file = try GGUF(path: path("x.gguf"))
    #expect(FileManager.default.contents(atPath: path("x.gguf"))?.count == layout.byteCount)
    #expect(file["m.bool"]?.bool == true && file["m.u32"]?.int == 4_000_000_000)
    #expect(file["m.f32"]?.double == Double(Float(0.1)) && file["m.text"]?.string == "é 天")
    #expect(file["m.texts"]?.strings == ["a", "", "▁b"] && file["m.ints"]?.ints == [-1, 7])
    #expect(file["m.floats"]?.floats == [0.5, -2])
    for (key, value) in other.metadata where key != "general.alignment" {
      #expect(file[key]?.type == value.type && file[key]?.arrayCount == value.arrayCount, "\(key)")
      #expect(file[key]?.strings == value.strings && file[key]?.int == value.int && file[key]?.ints == value.ints)
    }
    #expect(file.tensors.map(\.name) == ["a.weight", "b.bias", "c"])
    for (tensor, header) in zip(file.tensors, headers) {
      #expect(tensor.tensor.type == header.type && tensor.tensor.shape == header.shape)
      #expect(tensor.tensor.bytes.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0) })
    }
  }

  @Test("a safetensors file reads back, and an index names every tensor's file")
  func safetensors() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let headers = [
      try TensorHeader(name: "a", type: .bf16, shape: [3, 4]), try TensorHeader(name: "b", type: .f32, shape: []),
    ]
    let layout = SafetensorsWriter.layout(headers)
    try write(layout, "x.safetensors")
    let file = try Safetensors(path: path("x.safetensors"))
    #expect(file.metadata == ["format": "pt"])
    #expect(file.tensors.map(\.name) == ["a", "b"] && file.tensors.map(\.tensor.shape) == [[3, 4], []])
    #expect(file.tensors.map(\.tensor.type) == [.bf16, .f32])
    #expect(file.tensors[1].tensor.bytes.elementsEqual([0, 1, 2, 3]))
    let index = SafetensorsWriter.index([("x.safetensors", layout)])
    #expect(index["weight_map"]?["b"]?.string == "x.safetensors")
    #expect(index["metadata"]?["total_size"]?.int == 28)
  }

  @Test("contents that GGUF cannot store are refused")
  func refusals() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let long = try TensorHeader(name: String(repeating: "x", count: 64), type: .f32, shape: [1])
    #expect(throws: LimnError.self) { try GGUFWriter.layout([], [long]) }
    let other = try TensorHeader(name: "x", type: .u8, shape: [1])
    #expect(throws: LimnError.self) { try GGUFWriter.layout([], [other]) }
    #expect(throws: LimnError.self) { try GGUFWriter.layout([("k", .u32(-1))], []) }
    #expect(throws: LimnError.self) { try TensorHeader(name: "x", type: .q4_K, shape: [2, 100]) }
  }

  @Test("an unfinished file leaves nothing, and a finished one replaces the existing file")
  func partialFiles() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() }
    do {
      let file = try AtomicFile(path("a"))
      try file.write([1, 2, 3])
      #expect(try names() == ["a.partial"])
    }
    #expect(try names().isEmpty)
    for content in [[UInt8](repeating: 1, count: 9), [7]] {
      let file = try AtomicFile(path("a"))
      try file.write(content)
      try file.finish()
      try file.publish()
      #expect(try names() == ["a"])
      #expect(FileManager.default.contents(atPath: path("a")) == Data(content))
    }
    let error = #expect(throws: LimnError.self) { try AtomicFile("/nowhere/a") }
    #expect(error?.kind == .unavailable)
    #expect(AtomicFile.freeSpace(at: path("b/c/d")) ?? 0 > 0)
  }
}
