package import LimnCore
import LimnTensor

/// One metadata value for a GGUF file that limn will write.
package enum GGUFMetadata: Sendable {
  case bool(Bool)
  case u32(Int)
  case f32(Double)
  case string(String)
  case strings([String])
  case i32s([Int])
  case f32s([Float])
  /// A value copied from another file.
  case copy(GGUFValue)
}

/// GGUF files as limn writes them: version 3, little-endian, data at multiples of 32 (see `GGUF`).
package enum GGUFWriter {
  private static let alignment = 32

  /// - Throws: bad data if a name is longer than ggml allows, or if a number does not fit the type of its key.
  package static func layout(
    _ metadata: [(key: String, value: GGUFMetadata)], _ tensors: [TensorHeader]
  ) throws(LimnError) -> WeightFileLayout {
    var bytes = GGUFBytes()
    bytes.bytes = Array("GGUF".utf8)
    bytes.append(3 as UInt32)
    bytes.append(UInt64(tensors.count))
    bytes.append(UInt64(metadata.count))
    for (key, value) in metadata {
      bytes.append(key)
      try bytes.append(value, key)
    }
    var offset = 0
    var padding: [Int] = []
    for tensor in tensors {
      guard tensor.name.utf8.count < 64, let type = tensor.type.ggml, tensor.shape.count <= 4 else {
        throw LimnError.badData(
          "a tensor that GGUF cannot hold", expected: "at most 63 bytes of name, 4 axes, a type of ggml",
          found: "\(tensor.name) \(tensor.shape) \(tensor.type.rawValue)")
      }
      bytes.append(tensor.name)
      bytes.append(UInt32(tensor.shape.count))
      for size in tensor.shape.reversed() { bytes.append(UInt64(size)) }
      bytes.append(type)
      bytes.append(UInt64(offset))
      padding.append(Self.missing(tensor.byteCount))
      offset += tensor.byteCount + padding.last!
    }
    if !tensors.isEmpty { bytes.bytes += [UInt8](repeating: 0, count: Self.missing(bytes.bytes.count)) }
    return WeightFileLayout(header: bytes.bytes, tensors: tensors, padding: padding)
  }

  /// How many bytes to add to reach a multiple of the alignment.
  private static func missing(_ count: Int) -> Int { (alignment - count % alignment) % alignment }
}

/// Writes numbers and strings in GGUF's form.
private struct GGUFBytes {
  var bytes: [UInt8] = []

  mutating func append<T: FixedWidthInteger>(_ number: T) {
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func append(_ text: String) {
    append(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  mutating func append(_ value: GGUFMetadata, _ key: String) throws(LimnError) {
    func whole<T: FixedWidthInteger>(_ number: Int, _: T.Type) throws(LimnError) -> T {
      guard let number = T(exactly: number) else {
        throw LimnError.badData("\(key) is out of range", found: "\(number)")
      }
      return number
    }
    switch value {
    case .bool(let value):
      append(GGUFType.bool.rawValue)
      bytes.append(value ? 1 : 0)
    case .u32(let value):
      append(GGUFType.u32.rawValue)
      append(try whole(value, UInt32.self))
    case .f32(let value):
      append(GGUFType.f32.rawValue)
      append(Float(value).bitPattern)
    case .string(let text):
      append(GGUFType.string.rawValue)
      append(text)
    case .strings(let texts):
      array(.string, texts.count)
      for text in texts { append(text) }
    case .i32s(let values):
      array(.i32, values.count)
      for value in values { append(try whole(value, Int32.self)) }
    case .f32s(let values):
      array(.f32, values.count)
      for value in values { append(value.bitPattern) }
    case .copy(let value):
      if let count = value.arrayCount { array(value.type, count) } else { append(value.type.rawValue) }
      bytes.append(contentsOf: value.memory.bytes[value.range])
    }
  }

  private mutating func array(_ type: GGUFType, _ count: Int) {
    append(GGUFType.array.rawValue)
    append(type.rawValue)
    append(UInt64(count))
  }
}
