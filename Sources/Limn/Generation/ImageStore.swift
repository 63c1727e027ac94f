package import LimnImage

/// Identifies an image: a digest of everything that the image processor made of it. Within one opened model, which has
/// one processor and one vision tower, nothing else determines an image's embeddings.
package struct ImageKey: Hashable, Sendable {
  /// Two digests with keys that each process draws at random, so that nobody can construct two images that share them.
  private let digests: SIMD2<Int>

  package init(_ image: ProcessedImage) {
    // LLaVA-NeXT cuts away whatever covers only padding, which depends on the original size.
    let sizes = [
      image.tiles, image.height, image.width, image.originalSize.height, image.originalSize.width,
    ]
    digests = image.pixels.withUnsafeBytes { Self.digests(sizes, $0) }
  }

  /// Identifies an image by its file, which determines its pixels.
  package init(file: [UInt8]) { digests = file.withUnsafeBytes { Self.digests([], $0) } }

  private static func digests(_ sizes: [Int], _ bytes: UnsafeRawBufferPointer) -> SIMD2<Int> {
    func digest(_ number: Int) -> Int {
      var hasher = Hasher()
      hasher.combine(number)
      hasher.combine(sizes)
      hasher.combine(bytes: bytes)
      return hasher.finalize()
    }
    return SIMD2(digest(0), digest(1))
  }
}

/// The embeddings of the most recently used images.
struct ImageStore {
  private struct Entry {
    let embedding: ImageEmbedding
    /// Files that contain this image.
    var files: Set<ImageKey> = []
  }

  /// In order of use, the most recently used last.
  private var entries: [Entry] = []
  private var bytes = 0
  /// The bytes that all of them together may take.
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// - Parameters:
  ///   - key: of the image, or of a file.
  ///   - file: a file that leads to the same image from now on.
  mutating func embedding(of key: ImageKey, file: ImageKey? = nil) -> ImageEmbedding? {
    guard let index = entries.lastIndex(where: { $0.embedding.key == key || $0.files.contains(key) }) else {
      return nil
    }
    var entry = entries.remove(at: index)
    // The only reason to send one image in many files would be to fill the memory.
    if let file, entry.files.count < 16 { entry.files.insert(file) }
    entries.append(entry)
    return entry.embedding
  }

  mutating func keep(_ embedding: ImageEmbedding, files: [ImageKey]) {
    entries.append(Entry(embedding: embedding, files: Set(files.prefix(16))))
    bytes += embedding.bytes
    while bytes > limit { bytes -= entries.removeFirst().embedding.bytes }
  }

  mutating func removeAll() { (entries, bytes) = ([], 0) }
}
