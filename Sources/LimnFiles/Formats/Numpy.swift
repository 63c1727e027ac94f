package import LimnCore
import LimnTensor

// Arrays in NumPy's format: magic, version, header length, header (a Python dictionary), then the values in C order.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

private let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

/// A float32 or uint8 array read from a .npy file.
package struct NumpyFile: Sendable {
  package enum Element: String, Sendable {
    case float32 = "<f4"
    case uint8 = "|u1"

    var bytes: Int { self == .float32 ? 4 : 1 }
  }

  package let shape: [Int]
  package let element: Element
  /// The elements, as stored in the file.
  package let data: [UInt8]

  /// - Throws: bad data for other element types and orders, and for a damaged file.
  package init(_ path: String) throws(LimnError) {
    let memory = try Memory(mapping: path)
    defer { withExtendedLifetime(memory) {} }
    var reader = ByteReader(memory.bytes, place: path)
    guard memory.bytes[try reader.take(magic.count, "the magic")].elementsEqual(magic) else {
      throw LimnError.badData("this is no .npy file: it does not begin with NumPy's magic", in: path)
    }
    // Version 1 has a two-byte length, later versions a four-byte one.
    let version: UInt16 = try reader.integer("the version")
    let short: UInt16? = version & 0xFF == 1 ? try reader.integer("the header's length") : nil
    let long: UInt32? = short == nil ? try reader.integer("the header's length") : nil
    let range = try reader.take(Int(short ?? 0) + Int(long ?? 0), "the header")
    let header = String(decoding: memory.bytes[range], as: UTF8.self)
    guard let element = Self.element(in: header), header.contains("'fortran_order': False"),
      let shape = Self.shape(in: header), let count = elementCount(of: shape),
      case let (bytes, overflow) = count.multipliedReportingOverflow(by: element.bytes), !overflow
    else {
      throw LimnError.badData(
        "a .npy of a kind that limn does not read", in: path, expected: "float32 or uint8 in C order", found: header)
    }
    guard reader.remaining == bytes else {
      throw LimnError.badData(
        "the size of the array and of its data disagree", in: path, expected: "\(bytes) bytes for \(shape)",
        found: "\(reader.remaining)")
    }
    self.shape = shape
    self.element = element
    data = Array(memory.bytes[reader.position...])
  }

  /// - Precondition: the elements are float32.
  package var floats: [Float] {
    precondition(element == .float32, "the array holds \(element)")
    return data.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { i in
        Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)))
      }
    }
  }

  private static func element(in header: String) -> Element? {
    let parts = header.split(separator: "'descr': '", omittingEmptySubsequences: false)
    return parts.count == 2 ? Element(rawValue: String(parts[1].prefix(3))) : nil
  }

  private static func shape(in header: String) -> [Int]? {
    let parts = header.split(separator: "'shape': (", omittingEmptySubsequences: false)
    guard parts.count == 2, let close = parts[1].firstIndex(of: ")") else { return nil }
    let sizes = parts[1][..<close].split(separator: ",").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }.map {
      Int($0)
    }
    return sizes.allSatisfy { $0 ?? -1 >= 0 } ? sizes.compactMap(\.self) : nil
  }
}

/// Writes a float32 array piece by piece; the file gets its name once it is complete.
package struct NumpyWriter: ~Copyable {
  private let file: AtomicFile
  private var missing: Int

  /// Begins a file; `append` supplies its values.
  package init(_ path: String, shape: [Int]) throws(LimnError) {
    let file = try AtomicFile(path)
    // The header is padded so that the data begins at a multiple of 64; a one-element tuple keeps its comma.
    let axes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(axes)), }"
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    let length = [UInt8(header.utf8.count & 255), UInt8(header.utf8.count >> 8)]
    try file.write(magic + [1, 0] + length + Array(header.utf8))
    let count = shape.reduce(1, *)
    if count == 0 { try file.publish() }
    self.file = file
    missing = count
  }

  /// Appends the next values, in C order.
  package mutating func append(_ values: UnsafeBufferPointer<Float>) throws(LimnError) {
    precondition(values.count <= missing)
    guard !values.isEmpty else { return }
    try file.write(UnsafeRawBufferPointer(values))
    missing -= values.count
    if missing == 0 { try file.publish() }
  }
}
