package import LimnCore

/// One weight of a model as its files hold it, whole or in parts. Its shape, type and size are known without reading a
/// value; `resolved` combines the parts into a tensor to compute with.
package struct Weight: Sendable {
  package enum Stored: Sendable {
    case tensor(Tensor)
    /// Codes and scales apart.
    case quantized(QuantizedWeight)
  }

  package let stored: Stored
  /// What the checkpoint's own adapters add, in this order. Their rows are those of `stored`.
  package var updates: [LowRankUpdate] = []
  /// What adapters add for the sequences that use them, by the adapter's index. Their rows, too, are those of `stored`.
  package var adapters: [Int: LowRankUpdate] = [:]
  /// Which stored row becomes each row; nil: all rows as stored.
  package var rows: [Int32]?
  /// Whether the stored axes are [outputs, height, width, channels], as MLX writes a convolution's; in `shape` the
  /// channels come before height and width.
  package var hasChannelsLast = false
  /// The file's name for a tensor with one factor for all values; limn does not compute with such weights.
  package var scaleName: String?

  package init(_ stored: Stored) { self.stored = stored }

  package init(_ tensor: Tensor) { self.init(.tensor(tensor)) }

  // MARK: Without reading values

  /// Outermost axis first; a matrix is [outputs, inputs].
  package var shape: [Int] {
    switch stored {
    case .tensor(let tensor): hasChannelsLast ? tensor.shapeWithChannelsFirst : tensor.shape
    case .quantized(let weight): weight.shape
    }
  }

  /// The number of values.
  package var count: Int { shape.reduce(1, *) }

  /// The type that `resolved` produces.
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

  /// Size of its values in the files; where codes and scales lie apart, the size of the codes.
  package var byteCount: Int {
    switch stored {
    case .tensor(let tensor): tensor.range.count
    case .quantized(let weight): weight.codes.range.count
    }
  }

  package var isQuantized: Bool { if case .quantized = stored { true } else { false } }

  /// Whether adapters can be merged into the stored weight.
  package var canMerge: Bool {
    guard !updates.isEmpty else { return true }
    if case .tensor(let tensor) = stored { return CPU.mergeable.contains(tensor.type) }
    return false
  }

  // MARK: Reading values

  /// The tensor to compute with: the files' own bytes where they hold it whole, else memory of its own. What cannot be
  /// merged, because the stored weight is quantised, is left to `LowRank`.
  /// - Throws: `unavailable` if only the headers of the files are here.
  package func resolved(on cpu: CPU) throws(LimnError) -> Tensor {
    for part in parts { try part.requireValues() }
    var tensor =
      switch stored {
      case .tensor(let tensor): tensor
      case .quantized(let weight): try weight.packed(on: cpu)
      }
    if hasChannelsLast { tensor = try tensor.withChannelsFirst() }
    if canMerge { for update in updates { tensor = try cpu.merged(tensor, update) } }
    if let rows { tensor = try tensor.rows(rows) }
    return tensor
  }

  /// Tells the system that the files' bytes are not read again: see `Memory.release`.
  package func release() {
    for part in parts { part.memory.release(part.range) }
  }

  /// Where its parts lie.
  package var memories: [Memory] { parts.map(\.memory) }

  /// What the files hold of it.
  package var parts: [Tensor] {
    let stored =
      switch stored {
      case .tensor(let tensor): [tensor]
      case .quantized(let weight): weight.parts
      }
    return stored + (updates + adapters.values).flatMap { [$0.a, $0.b] }
  }
}

extension Tensor {
  /// [outputs, height, width, channels] → [outputs, channels, height, width]
  fileprivate var shapeWithChannelsFirst: [Int] { [shape[0], shape[3], shape[1], shape[2]] }

  /// The same values in that order, in memory of their own.
  fileprivate func withChannelsFirst() throws(LimnError) -> Tensor {
    let (places, channels) = (shape[1] * shape[2], shape[3])
    let size = type.layout.bytes / type.layout.elements
    let memory = try Memory(count: range.count) { target in
      withExtendedLifetime(self.memory) {
        let source = bytes
        for index in 0..<count {
          let (filter, rest) = (index / (places * channels), index % (places * channels))
          let to = (filter * channels + rest % channels) * places + rest / channels
          UnsafeMutableRawBufferPointer(rebasing: target[to * size..<(to + 1) * size])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[index * size..<(index + 1) * size]))
        }
      }
    }
    return Tensor(type: type, shape: shapeWithChannelsFirst, memory: memory, range: 0..<memory.bytes.count)
  }

  /// A selection of the rows, in any order, in memory of their own; with a single axis, of the values.
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
