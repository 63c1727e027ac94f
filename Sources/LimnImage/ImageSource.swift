import Foundation
public import LimnCore

/// The source of an image: a file, or memory. Nothing here uses the network; `LimnHub` fetches URLs.
public enum ImageSource: Sendable, Equatable {
  /// A file that the caller allows to be read.
  case path(String)
  /// The bytes of an image file, and their name in errors.
  case data([UInt8], name: String)
  /// An image that is already decoded.
  case pixels(RGBImage)

  /// The largest file that is read as an image, in bytes.
  public static let maxBytes = 512 << 20

  /// The bytes of a `data:` URL (RFC 2397), base64 or percent-encoded.
  /// - Throws: `badData` for a malformed URL.
  public init(dataURL text: String) throws(LimnError) {
    self = .data(try Self.bytes(ofDataURL: text), name: "the data: URL")
  }

  /// The image's name in errors.
  public var name: String {
    switch self {
    case .path(let path): path
    case .data(_, let name): name
    case .pixels: "the picture"
    }
  }

  /// The bytes of the image file; nil for pixels, which have no file.
  /// - Throws: `notFound` for a path that does not exist; `badData` for a directory, a device, or more than
  ///   `maxBytes`; `unavailable` for a file that can't be read.
  public func bytes() throws(LimnError) -> [UInt8]? {
    switch self {
    case .pixels: return nil
    case .data(let bytes, let name):
      guard bytes.count <= Self.maxBytes else { throw Self.tooLarge(name) }
      return bytes
    case .path(let path): return try Self.readFile(path)
    }
  }

  /// Reads the image, decodes it and turns it upright.
  /// - Parameter options: what is done with damage and transparency.
  public func image(_ options: ImageOptions = ImageOptions()) throws(LimnError) -> RGBImage {
    try image(decoding: try bytes(), options)
  }

  /// The decoded image. `bytes` are the contents of its file, if it has one.
  package func image(decoding bytes: [UInt8]?, _ options: ImageOptions) throws(LimnError) -> RGBImage {
    if case .pixels(let image) = self { return image }
    return try RGBImage(decoding: bytes ?? [], name: name, options: options)
  }

  /// A source that always gives the same image, even if its file changes.
  package func settled() throws(LimnError) -> ImageSource {
    guard case .path = self else { return self }
    return .data(try bytes() ?? [], name: name)
  }

  private static func readFile(_ path: String) throws(LimnError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      guard errno == ENOENT || errno == ENOTDIR else {
        throw LimnError(
          .unavailable, code: .imageUnreadable, "cannot be opened (\(String(cString: strerror(errno))))", in: path)
      }
      throw LimnError(.notFound, code: .imageNotFound, "no such file", in: path, remedy: "check the path")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw LimnError(
        .unavailable, code: .imageUnreadable, "cannot be read (\(String(cString: strerror(errno))))", in: path)
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG where status.st_size > maxBytes: throw tooLarge(path)
    case S_IFREG, S_IFIFO: return try readAll(descriptor, size: Int(status.st_size), name: path)
    case S_IFDIR:
      throw .badData(code: .imageUnreadable, "a directory, not a picture", in: path, remedy: "name a file in it")
    default: throw .badData(code: .imageUnreadable, "a device, not a picture", in: path, remedy: "name a file")
    }
  }

  /// Reads an open file or pipe to its end.
  /// - Parameters:
  ///   - size: the expected size; the actual one may differ.
  ///   - name: for messages.
  package static func readAll(_ descriptor: Int32, size: Int, name: String) throws(LimnError) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    var piece = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let count = Foundation.read(descriptor, &piece, piece.count)
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw LimnError(
          .unavailable, code: .imageUnreadable, "cannot be read (\(String(cString: strerror(errno))))", in: name)
      }
      guard bytes.count + count <= maxBytes else { throw tooLarge(name) }
      bytes += piece[..<count]
    }
  }

  private static func tooLarge(_ name: String) -> LimnError {
    .badData(
      code: .imageTooLarge, "the file is too large for a picture", in: name, expected: "at most \(maxBytes >> 20) MB",
      remedy: "scale the picture down first")
  }

  /// Parses `data:[type][;base64],data`, percent-encoded. Accepts whitespace, the URL alphabet and missing
  /// padding in base64.
  private static func bytes(ofDataURL text: String) throws(LimnError) -> [UInt8] {
    let broken = LimnError.badData(
      code: .imageUnreadable, "not a well-formed data: URL", in: "the data: URL", expected: "data:image/png;base64,…")
    guard text.utf8.count <= 2 * maxBytes else { throw tooLarge("the data: URL") }
    guard let comma = text.utf8.firstIndex(of: UInt8(ascii: ",")) else { throw broken }
    let isBase64 = text[..<comma].lowercased().hasSuffix(";base64")
    guard let body = percentDecoded(Array(text.utf8[text.utf8.index(after: comma)...])) else { throw broken }
    guard isBase64 else { return body }
    var plain: [UInt8] = []
    plain.reserveCapacity(body.count + 3)
    for byte in body {
      switch byte {
      case 0x09, 0x0A, 0x0D, 0x20: break
      case UInt8(ascii: "-"): plain.append(UInt8(ascii: "+"))
      case UInt8(ascii: "_"): plain.append(UInt8(ascii: "/"))
      default: plain.append(byte)
      }
    }
    while plain.count % 4 != 0, plain.count % 4 != 1 { plain.append(UInt8(ascii: "=")) }
    guard let data = Data(base64Encoded: Data(plain)) else { throw broken }
    return Array(data)
  }

  private static func percentDecoded(_ bytes: [UInt8]) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var position = 0
    while position < bytes.count {
      guard bytes[position] == UInt8(ascii: "%") else {
        result.append(bytes[position])
        position += 1
        continue
      }
      guard position + 2 < bytes.count,
        let high = Character(UnicodeScalar(bytes[position + 1])).hexDigitValue,
        let low = Character(UnicodeScalar(bytes[position + 2])).hexDigitValue
      else { return nil }
      result.append(UInt8(high << 4 | low))
      position += 3
    }
    return result
  }
}
