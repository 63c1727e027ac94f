import LimnHub
public import LimnImage
public import LimnTensor

extension ImageSource {
  /// The picture, upright: fetched or read, and decoded.
  public func image() async throws(LimnError) -> RGBImage {
    try image(decoding: try await bytes())
  }

  /// The picture's file, fetched or read; nil for pixels, which have none.
  func bytes() async throws(LimnError) -> [UInt8]? {
    switch self {
    case .pixels: nil
    case .url(let address): try await Download.fetch(address)
    case .path, .standardInput, .data: try read()
    }
  }

  /// The picture, of its file's bytes where it has one.
  func image(decoding bytes: [UInt8]?) throws(LimnError) -> RGBImage {
    if case .pixels(let image) = self { return image }
    return try RGBImage(decoding: bytes ?? [], name: name)
  }

  /// A source that gives the same picture again and again: a file may change, and a pipe is empty after the first time.
  package func settled() async throws(LimnError) -> ImageSource {
    switch self {
    case .path, .url, .standardInput: .data(try await bytes() ?? [], name: name)
    case .data, .pixels: self
    }
  }
}
