/// The keys and values of one sequence, for all layers: preallocated for `capacity` positions.
///
/// Layout of each layer's keys, and of its values: [kvHeads, capacity, headSize], so that one head's history is
/// contiguous for the attention that streams it.
// Not Sendable: one sequence owns it and only one step at a time writes to it.
package final class KVCache {
  /// How the values are kept.
  package enum Storage: Sendable {
    case float32
    case float16

    package var bytesPerValue: Int { self == .float32 ? 4 : 2 }
  }

  package let layers: Int
  package let kvHeads: Int
  package let headSize: Int
  package let capacity: Int
  package let storage: Storage
  /// How many positions hold keys and values; the engine moves it after each step, and back to drop a suffix.
  package var count = 0 { didSet { mostCount = max(mostCount, count) } }
  /// The most positions that it ever held.
  private var mostCount = 0
  private let memory: UnsafeMutableRawBufferPointer

  package init(layers: Int, kvHeads: Int, headSize: Int, capacity: Int, storage: Storage) {
    self.layers = layers
    self.kvHeads = kvHeads
    self.headSize = headSize
    self.capacity = capacity
    self.storage = storage
    // Pages that no position has reached yet cost nothing: the system hands them out when they are written.
    memory = .allocate(
      byteCount: max(64, 2 * layers * kvHeads * capacity * headSize * storage.bytesPerValue), alignment: 64)
  }

  deinit { memory.deallocate() }

  /// Memory that the positions written so far take: the system gives it page by page.
  package var usedBytes: Int {
    2 * layers * layerBytes / max(1, capacity) * min(capacity, (mostCount + 63) & ~63)
  }

  private var layerBytes: Int { kvHeads * capacity * headSize * storage.bytesPerValue }

  /// Keys of a layer: [kvHeads, capacity, headSize].
  package func keys(layer: Int) -> UnsafeMutableRawPointer {
    precondition(layer < layers)
    return memory.baseAddress! + 2 * layer * layerBytes
  }

  /// Values of a layer: [kvHeads, capacity, headSize].
  package func values(layer: Int) -> UnsafeMutableRawPointer {
    precondition(layer < layers)
    return memory.baseAddress! + (2 * layer + 1) * layerBytes
  }
}
