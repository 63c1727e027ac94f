package import LimnCore

/// How the keys and values of a conversation are kept.
public enum KVType: String, Sendable, CaseIterable {
  case f32
  case f16
  /// 8 bits, with a float16 scale for every 32 values: a little over half of `f16`.
  case q8_0

  /// Bytes of one head's keys, or values, at one position. Blocks of `q8_0` are whole.
  package func bytes(headSize: Int) -> Int {
    switch self {
    case .f32: 4 * headSize
    case .f16: 2 * headSize
    case .q8_0: (headSize + 31) / 32 * 34
    }
  }
}

/// The keys and values of one sequence, for all layers: preallocated for `capacity` positions.
///
/// Layout of each layer's keys, and of its values: [kvHeads, capacity, headSize], so that one head's history is
/// contiguous for the attention that streams it; a position's values of a head take `storage.bytes(headSize:)`.
// Not Sendable: one sequence owns it and only one step at a time writes to it.
package final class KVCache {
  package let layers: Int
  package let kvHeads: Int
  package let headSize: Int
  package let capacity: Int
  package let storage: KVType
  /// How many positions hold keys and values; the engine moves it after each step, and back to drop a suffix.
  package var count = 0 { didSet { maxCount = max(maxCount, count) } }
  /// The most positions that it ever held.
  private var maxCount = 0
  private let memory: UnsafeMutableRawBufferPointer

  /// - Throws: the system has no room for so many positions.
  package init(layers: Int, kvHeads: Int, headSize: Int, capacity: Int, storage: KVType) throws(LimnError) {
    self.layers = layers
    self.kvHeads = kvHeads
    self.headSize = headSize
    self.capacity = capacity
    self.storage = storage
    // Pages that no position has reached yet cost nothing.
    let factors = [2, layers, kvHeads, capacity, storage.bytes(headSize: headSize)]
    let bytes = factors.reduce(1) { $0.multipliedReportingOverflow(by: $1).overflow ? Int.max : $0 * $1 }
    guard let memory = mapPages(max(64, bytes)) else {
      throw LimnError(
        .unavailable, "the system has no room for keys and values",
        expected: "\(bytes / 1_000_000) MB for \(capacity) positions",
        remedy: "use a smaller --context or --max-tokens, or --kv-type q8_0")
    }
    self.memory = memory
  }

  deinit { unmapPages(memory) }

  /// Memory that the positions written so far take: the system gives it page by page.
  package var usedBytes: Int {
    2 * layers * layerBytes / max(1, capacity) * min(capacity, (maxCount + 63) & ~63)
  }

  /// Bytes from one position to the next.
  package var positionBytes: Int { storage.bytes(headSize: headSize) }
  /// Bytes from one key/value head to the next.
  package var headBytes: Int { capacity * positionBytes }
  private var layerBytes: Int { kvHeads * headBytes }

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
