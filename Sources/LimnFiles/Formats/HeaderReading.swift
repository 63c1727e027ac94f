/// The result of reading the first bytes of a file, whose rest may be elsewhere.
package enum HeaderReading<File: Sendable>: Sendable {
  /// The complete header. Tensors have their shapes, types and positions, but values only as far as the bytes reach.
  case whole(File)
  /// The header is longer: reading on takes at least this many bytes from the beginning of the file.
  case cut(needed: Int)
}

/// No file is larger, so positions in it can be added and rounded up without overflow.
let largestFile = 1 << 60
