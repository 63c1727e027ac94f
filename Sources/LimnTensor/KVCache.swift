package import LimnCore

/// How keys and values are stored.
public enum KVType: String, Sendable, CaseIterable {
  case f32
  case f16
  /// 8 bits per value, with a float16 scale for every 32: a little over half the size of `f16`.
  case q8_0

  /// Bytes of one head's keys, or of its values, at one position. `q8_0` stores whole blocks.
  package func bytes(headSize: Int) -> Int {
    switch self {
    case .f32: 4 * headSize
    case .f16: 2 * headSize
    case .q8_0: (headSize + 31) / 32 * 34
    }
  }
}

/// The keys and values of one sequence, for all layers: `capacity` positions of address space, each layer in the memory
/// of the backend that computes it.
///
/// The keys of a layer, and likewise its values, are [kvHeads, capacity, headSize], so that one head's history is
/// contiguous for attention, which streams it. One head's values at one position take `storage.bytes(headSize:)`.
// Not Sendable: one sequence owns it and only one step at a time writes to it.
package final class KVCache {
  package let layers: Int
  package let kvHeads: Int
  package let headSize: Int
  package let capacity: Int
  package let storage: KVType
  /// How many positions hold keys and values. The engine increases it after each step, and decreases it to drop a
  /// suffix.
  package var count = 0 { didSet { maxCount = max(maxCount, count) } }
  /// The most positions that it has ever held.
  private var maxCount = 0
  /// For each layer: keys, then values.
  private let memory: [Allocation]

  /// - Parameter backend: returns the backend that computes a given layer.
  /// - Throws: `unavailable` if the system has no room for that many positions.
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

  /// A cache on a single backend.
  package convenience init(
    layers: Int, kvHeads: Int, headSize: Int, capacity: Int, storage: KVType, on backend: any Backend
  ) throws(LimnError) {
    try self.init(
      layers: layers, kvHeads: kvHeads, headSize: headSize, capacity: capacity, storage: storage, on: { _ in backend })
  }

  /// Memory taken by the positions written so far: the system allocates it page by page.
  package var usedBytes: Int { layers * 2 * kvHeads * positionBytes * min(capacity, (maxCount + 63) & ~63) }

  /// Bytes from one position to the next.
  package var positionBytes: Int { storage.bytes(headSize: headSize) }
  /// Bytes from one key/value head to the next.
  package var headBytes: Int { capacity * positionBytes }

  /// A layer's keys: [kvHeads, capacity, headSize].
  package func keys(layer: Int) -> Address { memory[layer].address }

  /// A layer's values: [kvHeads, capacity, headSize].
  package func values(layer: Int) -> Address { memory[layer].address + kvHeads * headBytes }
}
