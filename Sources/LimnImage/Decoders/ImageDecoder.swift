import LimnCore

/// What is known of a picture before its pixels are decoded.
struct ImageHeader: Equatable {
  var width: Int
  var height: Int
  /// Whether pixels have a fourth byte, not premultiplied.
  var hasAlpha = false
  /// Whether there are more pictures in the file; the first is decoded.
  var isAnimated = false
}

/// A picture file of one format, whose header is read.
protocol ImageDecoder {
  var header: ImageHeader { get }

  /// Fills [height, width, 3] bytes, or 4 with alpha. A size may be as hostile as the rest of the file: the caller checks
  /// it before it allocates the memory.
  /// - Returns: what is wrong with a file that is decoded nevertheless.
  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage?
}

/// What is wrong with a file that is decoded nevertheless.
struct ImageDamage: Equatable {
  /// Whether pixels are missing or wrong; otherwise it is only the file's end, or a checksum.
  var losesPixels: Bool
  var message: String
}

/// Why a picture is not decoded.
struct DecodingFailure: Error {
  enum Reason { case cutOff, broken, unsupported, noMemory, tooLarge, noLibrary }

  var reason: Reason
  var message = ""

  static func broken(_ message: String) -> DecodingFailure { DecodingFailure(reason: .broken, message: message) }
  static func unsupported(_ message: String) -> DecodingFailure {
    DecodingFailure(reason: .unsupported, message: message)
  }
  static let cutOff = DecodingFailure(reason: .cutOff)
}

/// Numbers in a file that may end anywhere: nil beyond its end.
extension [UInt8] {
  func byte(_ offset: Int) -> Int? { indices.contains(offset) ? Int(self[offset]) : nil }

  /// 16 bits, little-endian.
  func short(_ offset: Int) -> Int? {
    guard let low = byte(offset), let high = byte(offset + 1) else { return nil }
    return high << 8 | low
  }

  /// 32 bits, little-endian.
  func long(_ offset: Int) -> Int? {
    guard let low = short(offset), let high = short(offset + 2) else { return nil }
    return high << 16 | low
  }
}
