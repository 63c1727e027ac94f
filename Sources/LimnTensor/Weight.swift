package import LimnCore

/// One weight of a model as its files hold it, whole or in parts. Its shape, type and size are known without reading
/// a value; `resolved` puts the parts together for whoever computes with it.
package struct Weight: Sendable {
  package enum Stored: Sendable {
    case tensor(Tensor)
    /// bitsandbytes' codes and scales.
    case quantized(QuantizedWeight)
  }

  package let stored: Stored
  /// What adapters that belong to the checkpoint add, in this order. Their rows are those of `stored`.
  package var updates: [LowRankUpdate] = []
  /// What adapters add for the sequences that use them, by the adapter's index; likewise.
  package var adapters: [Int: LowRankUpdate] = [:]
  /// Which stored row each row is; nil: all of them as they are stored.
  package var rows: [Int32]?
  /// The file's name for a tensor with a factor for all values; limn does not compute with such weights.
  package var scaleName: String?

  package init(_ stored: Stored) { self.stored = stored }

  package init(_ tensor: Tensor) { self.init(.tensor(tensor)) }

  // MARK: Without reading values

  /// Outermost axis first; a matrix is [outputs, inputs].
  package var shape: [Int] {
    switch stored {
    case .tensor(let tensor): tensor.shape
    case .quantized(let weight): weight.shape
    }
  }

  /// How many values it has.
  package var count: Int { shape.reduce(1, *) }

  /// The type of what `resolved` gives.
  package var type: TensorType {
    switch stored {
    case .tensor(let tensor): tensor.type
    case .quantized(let weight): weight.packedType
    }
  }

  /// The type in the files, for people: "F16", "NF4".
  package var typeName: String {
    switch stored {
    case .tensor(let tensor): tensor.type.rawValue
    case .quantized(let weight): weight.name
    }
  }

  /// What its values take in the files; of bitsandbytes' parts, the codes.
  package var byteCount: Int {
    switch stored {
    case .tensor(let tensor): tensor.range.count
    case .quantized(let weight): weight.codes.range.count
    }
  }

  package var isQuantizedByBitsandbytes: Bool { if case .quantized = stored { true } else { false } }

  /// Whether what adapters add can be merged into what is stored.
  package var canMerge: Bool {
    guard !updates.isEmpty else { return true }
    if case .tensor(let tensor) = stored { return CPU.mergeable.contains(tensor.type) }
    return false
  }

  // MARK: With them

  /// The tensor to compute with: where the files hold it whole, their own bytes; else in memory of its own.
  /// - Throws: unavailable, where only the headers of the files are here.

  ///
  /// What cannot be merged, because what is stored is quantised, is left to `LowRank`.
  package func resolved(on cpu: CPU) throws(LimnError) -> Tensor {
    for part in parts { try part.requireValues() }
    var tensor =
      switch stored {
      case .tensor(let tensor): tensor
      case .quantized(let weight): try weight.packed(on: cpu)
      }
    if canMerge { for update in updates { tensor = try cpu.merged(tensor, update) } }
    if let rows { tensor = try tensor.rows(rows) }
    return tensor
  }

  /// Nobody reads the files' bytes again: see `Memory.release`.
  package func release() {
    for part in parts { part.memory.release(part.range) }
  }

  /// Where its parts lie.
  package var memories: [Memory] { parts.map(\.memory) }

  /// What the files hold of it.
  private var parts: [Tensor] {
    let stored =
      switch stored {
      case .tensor(let tensor): [tensor]
      case .quantized(let weight): weight.parts
      }
    return stored + (updates + adapters.values).flatMap { [$0.a, $0.b] }
  }
}

extension Tensor {
  /// Some of the rows in any order, in memory of their own; along a single axis, values.
  fileprivate func rows(_ order: [Int32]) throws(LimnError) -> Tensor {
    let size = shape[0] > 0 ? range.count / shape[0] : 0
    let memory = try Memory(count: order.count * size) { target in
      guard size > 0 else { return }
      withExtendedLifetime(self.memory) {
        let start = bytes.baseAddress!
        for (row, source) in order.enumerated() {
          (target.baseAddress! + row * size).copyMemory(from: start + Int(source) * size, byteCount: size)
        }
      }
    }
    return Tensor(type: type, shape: [order.count] + shape.dropFirst(), memory: memory, range: 0..<memory.bytes.count)
  }
}
