import Foundation
import LimnCore

/// Writes a float32 array in NumPy's format, part by part; the file appears under its name when it is whole.
/// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
struct NumpyWriter: ~Copyable {
  private let path: String
  private let temporary: String
  private let file: UnsafeMutablePointer<FILE>
  private var missing: Int

  private init(path: String, temporary: String, file: UnsafeMutablePointer<FILE>, missing: Int) {
    (self.path, self.temporary, self.file, self.missing) = (path, temporary, file, missing)
  }

  /// Begins a file whose values are to follow with `append`.
  static func begin(_ path: String, shape: [Int]) throws(LimnError) -> NumpyWriter {
    // What is there and is no plain file, a pipe say, is written into and never replaced.
    var status = stat()
    let isSpecial = stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    let temporary = isSpecial ? path : path + ".part"
    guard let file = fopen(temporary, "wb") else { throw refusal(path) }
    let writer = NumpyWriter(path: path, temporary: temporary, file: file, missing: shape.reduce(1, *))
    // The header is padded so that the data begins at a multiple of 64; a tuple of one keeps its comma.
    let axes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(axes)), }"
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
    bytes += [UInt8(header.utf8.count & 255), UInt8(header.utf8.count >> 8)] + Array(header.utf8)
    try writer.put(bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) == $0.count })
    try writer.finishIfWhole()
    return writer
  }

  /// The next values, in C order.
  mutating func append(_ values: UnsafeBufferPointer<Float>) throws(LimnError) {
    precondition(values.count <= missing)
    try put(values.isEmpty || fwrite(values.baseAddress, 4, values.count, file) == values.count)
    missing -= values.count
    try finishIfWhole()
  }

  private func finishIfWhole() throws(LimnError) {
    guard missing == 0 else { return }
    try put(fflush(file) == 0 && (temporary == path || rename(temporary, path) == 0))
  }

  private func put(_ succeeded: Bool) throws(LimnError) {
    if !succeeded { throw Self.refusal(path) }
  }

  private static func refusal(_ path: String) -> LimnError {
    LimnError(
      .unavailable, "cannot be written (\(String(cString: strerror(errno))))", in: path,
      remedy: "check the folder, its permissions and the space on the disk")
  }

  deinit {
    fclose(file)
    if temporary != path { unlink(temporary) }
  }
}
