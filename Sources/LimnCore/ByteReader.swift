/// Reads little-endian numbers and lengths from bytes that may be malformed: every read is checked against what is
/// left, and an error says where reading stopped. The description of what is being read is built only for such an
/// error. If only the beginning of a file is here, lengths are checked against the size of the whole file.
package struct ByteReader {
  package let bytes: UnsafeRawBufferPointer
  /// What the bytes are, for messages.
  package let place: String
  /// The total number of bytes, including those that are not here.
  package let size: Int
  package private(set) var position = 0
  /// How many bytes from the beginning are needed to continue; nil if reading has not gone beyond the bytes that are
  /// here.
  package private(set) var needed: Int?

  /// - Parameter size: the size of the whole file; nil if all of it is here.
  package init(_ bytes: UnsafeRawBufferPointer, place: String, size: Int? = nil, at position: Int = 0) {
    self.bytes = bytes
    self.place = place
    self.size = size ?? bytes.count
    self.position = Swift.min(position, bytes.count)
  }

  package var remaining: Int { size - position }

  /// Moves to a place known to be inside.
  package mutating func move(to position: Int) {
    precondition(position >= 0 && position <= bytes.count)
    self.position = position
  }

  package mutating func integer<T: FixedWidthInteger>(_ what: @autoclosure () -> String) throws(LimnError) -> T {
    let range = try take(MemoryLayout<T>.size, what())
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: T.self))
  }

  /// A u64 that counts bytes or items; it must not exceed what is left divided by `each`, the bytes of one item.
  package mutating func count(each: Int = 1, _ what: @autoclosure () -> String) throws(LimnError) -> Int {
    let value: UInt64 = try integer(what())
    guard value <= UInt64(remaining / each) else {
      throw error("\(what()) \(value) is more than the file can hold", at: position - 8)
    }
    return Int(value)
  }

  /// Skips `count` bytes and returns where they are.
  package mutating func take(_ count: Int, _ what: @autoclosure () -> String) throws(LimnError) -> Range<Int> {
    guard count >= 0, count <= remaining else {
      throw LimnError.badData(
        "the file ends inside \(what())", in: "\(place), byte \(position)", expected: "\(count) bytes",
        found: "\(remaining)", remedy: "fetch the file again if its download was cut")
    }
    guard count <= bytes.count - position else {
      needed = position + count
      throw LimnError(.unavailable, "only the file's beginning is here", in: "\(place), byte \(position)")
    }
    defer { position += count }
    return position..<position + count
  }

  package func error(_ what: String, at position: Int? = nil) -> LimnError {
    .badData("\(what)", in: "\(place), byte \(position ?? self.position)")
  }
}
