package import LimnImage

/// What tells pictures apart: a digest of all that the image processor made of them. A processor and a vision
/// tower belong to one opened model, so that within it nothing else determines a picture's embeddings.
package struct ImageKey: Hashable, Sendable {
  /// Two digests under keys that are drawn anew in each process: nobody can make two pictures that share them.
  private let digests: SIMD2<Int>

  package init(_ image: ProcessedImage) {
    // LLaVA-NeXT cuts away what only covers padding: that depends on the original size.
    let sizes = [
      image.tiles, image.height, image.width, image.originalSize.height, image.originalSize.width,
    ]
    digests = image.pixels.withUnsafeBytes { Self.digests(sizes, $0) }
  }

  /// A picture's file, which determines its pixels.
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

/// The embeddings of the latest images.
struct ImageStore {
  private struct Entry {
    let embedding: ImageEmbedding
    /// Files that hold this picture.
    var files: Set<ImageKey> = []
  }

  /// The one that was used last stands last.
  private var entries: [Entry] = []
  private var bytes = 0
  /// Bytes that all of them together may take.
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// - Parameters:
  ///   - key: of the picture, or of a file.
  ///   - file: will lead to the same picture from now on.
  mutating func embedding(of key: ImageKey, file: ImageKey? = nil) -> ImageEmbedding? {
    guard let index = entries.lastIndex(where: { $0.embedding.key == key || $0.files.contains(key) }) else {
      return nil
    }
    var entry = entries.remove(at: index)
    // Nobody sends one picture in many files but to fill the memory.
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
