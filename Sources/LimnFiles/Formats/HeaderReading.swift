/// What the first bytes of a file say, of which the rest may be elsewhere.
package enum HeaderReading<File: Sendable>: Sendable {
  /// The header is there. Tensors have their shapes, types and places; their values are only there where the bytes
  /// reach them.
  case whole(File)
  /// The header goes on: it takes at least this many bytes from the file's beginning to say more.
  case cut(needed: Int)
}

/// No file is larger: positions in it can be added and rounded up without overflow.
let largestFile = 1 << 60
