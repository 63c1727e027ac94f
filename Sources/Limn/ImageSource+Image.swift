import LimnHub
public import LimnImage
public import LimnTensor

extension ImageSource {
  /// The picture, upright: fetched or read, and decoded.
  public func image() async throws(LimnError) -> RGBImage {
    if case .pixels(let image) = self { return image }
    let bytes =
      if case .url(let address) = self { try await Download.fetch(address) } else { try read() }
    return try RGBImage(decoding: bytes, name: name)
  }
}
