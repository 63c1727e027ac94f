import LimnImage
import Synchronization

/// The embeddings of a conversation's pictures, found again by what determines them: the processed pixels.
package final class PictureMemory: Sendable {
  private struct Entry {
    let image: ProcessedImage
    let embedding: ImageEmbedding
  }

  private let entries = Mutex<[Entry]>([])
  /// The oldest ones make place for new ones.
  private static let limit = 16

  package init() {}

  func embedding(of image: ProcessedImage) -> ImageEmbedding? {
    entries.withLock { entries in
      entries.first { $0.image.pixels == image.pixels && $0.image.originalSize == image.originalSize }?
        .embedding
    }
  }

  func remember(_ embedding: ImageEmbedding, of image: ProcessedImage) {
    entries.withLock { entries in
      if entries.count == Self.limit { entries.removeFirst() }
      entries.append(Entry(image: image, embedding: embedding))
    }
  }
}
