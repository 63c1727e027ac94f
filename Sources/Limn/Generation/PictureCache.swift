package import LimnImage

/// What tells pictures apart: a digest of all that the image processor made of them. A processor and a vision
/// tower belong to one opened model, so that within it nothing else determines a picture's embeddings.
package struct PictureKey: Hashable, Sendable {
  /// Two digests under keys that are drawn anew in each process: nobody can make two pictures that share them.
  private let digests: SIMD2<Int>

  package init(_ image: ProcessedImage) {
    func digest(_ number: Int) -> Int {
      var hasher = Hasher()
      hasher.combine(number)
      for value in [image.tiles, image.height, image.width] { hasher.combine(value) }
      // LLaVA-NeXT cuts away what only covers padding: that depends on the original size.
      hasher.combine(image.originalSize.height)
      hasher.combine(image.originalSize.width)
      image.pixels.withUnsafeBytes { hasher.combine(bytes: $0) }
      return hasher.finalize()
    }
    digests = SIMD2(digest(0), digest(1))
  }
}

/// The embeddings of the latest pictures.
struct PictureCache {
  /// The one that was used last stands last.
  private var embeddings: [ImageEmbedding] = []
  private var bytes = 0
  /// Bytes that all of them together may take.
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  mutating func embedding(of key: PictureKey) -> ImageEmbedding? {
    guard let index = embeddings.lastIndex(where: { $0.key == key }) else { return nil }
    let embedding = embeddings.remove(at: index)
    embeddings.append(embedding)
    return embedding
  }

  mutating func keep(_ embedding: ImageEmbedding) {
    embeddings.append(embedding)
    bytes += embedding.bytes
    while bytes > limit { bytes -= embeddings.removeFirst().bytes }
  }

  mutating func removeAll() { (embeddings, bytes) = ([], 0) }
}
