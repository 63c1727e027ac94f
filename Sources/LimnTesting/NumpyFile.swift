import Foundation
import LimnCore

/// An array from a .npy file with expected values written by a Python script: float32 or uint8, in C order.
public struct NumpyFile: Sendable {
  public enum Element: String, Sendable {
    case float32 = "<f4"
    case uint8 = "|u1"

    var bytes: Int { self == .float32 ? 4 : 1 }
  }

  public let shape: [Int]
  public let element: Element
  /// The raw elements.
  public let data: [UInt8]

  public init(_ path: String) throws {
    guard let file = FileManager.default.contents(atPath: path).map(Array.init) else {
      throw LimnError(.notFound, "no such file", in: path)
    }
    guard file.count >= 12, file.starts(with: [0x93] + Array("NUMPY".utf8)) else {
      throw LimnError.badData("not a .npy file", in: path)
    }
    // Version 1 has a 2-byte header length, later versions a 4-byte one.
    let lengthBytes = file[6] == 1 ? 2 : 4
    let length = file[8..<(8 + lengthBytes)].reversed().reduce(0) { $0 << 8 | Int($1) }
    let start = 8 + lengthBytes + length
    guard start <= file.count else { throw LimnError.badData("the .npy header ends too early", in: path) }
    let header = String(decoding: file[(8 + lengthBytes)..<start], as: UTF8.self)
    guard let element = Self.element(in: header), header.contains("'fortran_order': False"),
      let shape = Self.shape(in: header)
    else {
      throw LimnError.badData(
        "an unsupported kind of .npy", in: path, expected: "float32 or uint8 in C order", found: header)
    }
    let count = shape.reduce(1, *) * element.bytes
    guard file.count == start + count else {
      throw LimnError.badData(
        "the .npy holds too many or too few bytes", in: path, expected: "\(count)",
        found: "\(file.count - start)")
    }
    self.shape = shape
    self.element = element
    self.data = Array(file[start...])
  }

  /// - Precondition: the elements are float32.
  public var floats: [Float] {
    precondition(element == .float32, "the array holds \(element)")
    return data.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { i in
        Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)))
      }
    }
  }

  private static func element(in header: String) -> Element? {
    let parts = header.components(separatedBy: "'descr': '")
    return parts.count == 2 ? Element(rawValue: String(parts[1].prefix(3))) : nil
  }

  private static func shape(in header: String) -> [Int]? {
    guard let open = header.range(of: "'shape': ("),
      let close = header[open.upperBound...].firstIndex(of: ")")
    else { return nil }
    let numbers = header[open.upperBound..<close].split(separator: ",").map {
      Int($0.trimmingCharacters(in: .whitespaces))
    }
    return numbers.contains(nil) ? nil : numbers.compactMap(\.self)
  }
}
