/// GPT-2's mapping of bytes to visible characters: printable Latin-1 maps to itself, all other bytes to
/// U+0100 and up ("Ġ" is a space, "Ċ" a newline).
enum ByteLevel {
  /// The character of each byte.
  static let scalars: [UInt32] = {
    var next: UInt32 = 256
    return (0..<256).map { (byte: UInt32) in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return byte
      default:
        defer { next += 1 }
        return next
      }
    }
  }()

  /// The byte of each character below U+0144, −1 where there is none.
  private static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
    return bytes
  }()

  /// Appends the UTF-8 of the byte's character.
  @inline(__always)
  static func append(_ byte: UInt8, to result: inout [UInt8]) {
    let scalar = scalars[Int(byte)]
    if scalar < 0x80 {
      result.append(UInt8(scalar))
    } else {
      result.append(UInt8(0xC0 | scalar >> 6))
      result.append(UInt8(0x80 | scalar & 0x3F))
    }
  }

  /// The bytes that a token encodes; the token itself if one of its characters does not encode a byte.
  static func decoded(_ token: [UInt8]) -> [UInt8] {
    token.withUnsafeBufferPointer { token in
      var result: [UInt8] = []
      var index = 0
      while index < token.count {
        let (value, length) = token.scalar(at: index)
        guard value < 0x144, bytes[Int(value)] >= 0 else { return Array(token) }
        result.append(UInt8(bytes[Int(value)]))
        index += length
      }
      return result
    }
  }
}
