import LimnCore

/// The types of metadata values, with the format's own numbers.
package enum GGUFType: UInt32, Sendable {
  case u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64

  /// The size of a value in bytes; nil for types whose sizes vary.
  var size: Int? {
    switch self {
    case .u8, .i8, .bool: 1
    case .u16, .i16: 2
    case .u32, .i32, .f32: 4
    case .u64, .i64, .f64: 8
    case .string, .array: nil
    }
  }
}

/// One metadata value, still inside the GGUF file and decoded on demand.
package struct GGUFValue: Sendable {
  /// The type of the value, or of an array's elements.
  package let type: GGUFType
  /// The number of elements in an array; nil for a single value.
  package let arrayCount: Int?
  let memory: Memory
  /// The value's bytes, checked when the file was opened. Each string is preceded by its length.
  let range: Range<Int>

  package var isArray: Bool { arrayCount != nil }

  // MARK: Single values; nil for another type

  package var string: String? { type == .string && !isArray ? strings(1)[0] : nil }
  package var bool: Bool? { type == .bool && !isArray ? byte(range.lowerBound) != 0 : nil }
  /// Any integer type.
  package var int: Int? { isArray ? nil : integer(at: range.lowerBound) }
  /// Any number.
  package var double: Double? { isArray ? nil : number(at: range.lowerBound) }

  // MARK: Arrays; nil for anything else

  package var strings: [String]? { type == .string ? arrayCount.map(strings) : nil }
  package var ints: [Int]? { elements(integer) }
  package var doubles: [Double]? { elements(number) }
  /// A float32 array, such as the scores of a vocabulary.
  package var floats: [Float]? {
    guard type == .f32, let arrayCount else { return nil }
    return (0..<arrayCount).map {
      memory.bytes.loadUnaligned(fromByteOffset: range.lowerBound + 4 * $0, as: Float.self)
    }
  }

  /// Invalid UTF-8 is replaced with U+FFFD, as users of llama.cpp do.
  private func strings(_ count: Int) -> [String] {
    var position = range.lowerBound
    return (0..<count).map { _ in
      let length = Int(memory.bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      defer { position += 8 + length }
      return String(decoding: memory.bytes[position + 8..<position + 8 + length], as: UTF8.self)
    }
  }

  /// Passes the bytes of each element of a string array to a closure, in order and repaired like `strings`, so that a
  /// vocabulary needs no object per token. Does nothing for any other value.
  package func visitTexts(_ visit: (_ index: Int, _ text: UnsafeBufferPointer<UInt8>) -> Void) {
    guard type == .string, let arrayCount else { return }
    var position = range.lowerBound
    for index in 0..<arrayCount {
      let length = Int(memory.bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      memory.bytes[position + 8..<position + 8 + length].withMemoryRebound(to: UInt8.self) { bytes in
        if bytes.allSatisfy({ $0 < 0x80 }) { return visit(index, bytes) }
        var text = String(decoding: bytes, as: UTF8.self)
        text.withUTF8 { visit(index, $0) }
      }
      position += 8 + length
    }
  }

  private func elements<T>(_ read: (Int) -> T?) -> [T]? {
    guard let arrayCount, let size = type.size else { return nil }
    var result: [T] = []
    result.reserveCapacity(arrayCount)
    for index in 0..<arrayCount {
      guard let value = read(range.lowerBound + index * size) else { return nil }
      result.append(value)
    }
    return result
  }

  private func byte(_ position: Int) -> UInt8 { memory.bytes[position] }

  private func integer(at position: Int) -> Int? {
    func load<T: FixedWidthInteger>(_: T.Type) -> Int? {
      Int(exactly: T(littleEndian: memory.bytes.loadUnaligned(fromByteOffset: position, as: T.self)))
    }
    return switch type {
    case .u8: load(UInt8.self)
    case .i8: load(Int8.self)
    case .u16: load(UInt16.self)
    case .i16: load(Int16.self)
    case .u32: load(UInt32.self)
    case .i32: load(Int32.self)
    case .u64: load(UInt64.self)
    case .i64: load(Int64.self)
    case .f32, .f64, .bool, .string, .array: nil
    }
  }

  private func number(at position: Int) -> Double? {
    switch type {
    case .f32: Double(memory.bytes.loadUnaligned(fromByteOffset: position, as: Float.self))
    case .f64: memory.bytes.loadUnaligned(fromByteOffset: position, as: Double.self)
    default: integer(at: position).map(Double.init)
    }
  }
}
