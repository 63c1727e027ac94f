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

/// The keys and values of one sequence, for all layers: addresses for `capacity` positions, each layer in the memory
/// of the backend that computes it.
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
  /// Of each layer: keys, then values.
  private let memory: [Allocation]

  /// - Parameter backend: the one that computes a layer.
  /// - Throws: the system has no room for that many positions.
  package init(
    layers: Int, kvHeads: Int, headSize: Int, capacity: Int, storage: KVType, on backend: (Int) -> any Backend
  ) throws(LimnError) {
    self.layers = layers
    self.kvHeads = kvHeads
    self.headSize = headSize
    self.capacity = capacity
    self.storage = storage
    let factors = [2, kvHeads, capacity, storage.bytes(headSize: headSize)]
    let bytes = factors.reduce(1) { $0.multipliedReportingOverflow(by: $1).overflow ? Int.max : $0 * $1 }
    var memory: [Allocation] = []
    do throws(LimnError) {
      for layer in 0..<layers { memory.append(try backend(layer).sparse(bytes: max(64, bytes))) }
    } catch {
      let total = bytes.multipliedReportingOverflow(by: layers)
      throw LimnError(
        .unavailable, "the system has no room for keys and values",
        expected: "\((total.overflow ? Int.max : total.partialValue) / 1_000_000) MB for \(capacity) positions",
        remedy: "use a smaller \(.context) or \(.maxTokens), or \(.kvType, "q8_0")")
    }
    self.memory = memory
  }

  /// On one backend.
  package convenience init(
    layers: Int, kvHeads: Int, headSize: Int, capacity: Int, storage: KVType, on backend: any Backend
  ) throws(LimnError) {
    try self.init(
      layers: layers, kvHeads: kvHeads, headSize: headSize, capacity: capacity, storage: storage, on: { _ in backend })
  }

  /// Memory that the positions written so far take: the system gives it page by page.
  package var usedBytes: Int { layers * 2 * kvHeads * positionBytes * min(capacity, (maxCount + 63) & ~63) }

  /// Bytes from one position to the next.
  package var positionBytes: Int { storage.bytes(headSize: headSize) }
  /// Bytes from one key/value head to the next.
  package var headBytes: Int { capacity * positionBytes }

  /// Keys of a layer: [kvHeads, capacity, headSize].
  package func keys(layer: Int) -> Address { memory[layer].address }

  /// Values of a layer: [kvHeads, capacity, headSize].
  package func values(layer: Int) -> Address { memory[layer].address + kvHeads * headBytes }
}
