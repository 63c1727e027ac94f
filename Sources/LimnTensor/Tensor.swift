package import LimnCore

/// A tensor as a file holds it: type, shape, and a place in memory that stays valid as long as the tensor. If only the
/// beginning of the file was read, the place may lie beyond it.
package struct Tensor: Sendable {
  package let type: TensorType
  /// Outermost axis first, as PyTorch writes it; the last axis is contiguous in memory.
  package let shape: [Int]
  /// Keeps `bytes` alive.
  package let memory: Memory
  /// Where in `memory` the elements are.
  package let range: Range<Int>

  package init(type: TensorType, shape: [Int], memory: Memory, range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= memory.size)
    self.type = type
    self.shape = shape
    self.memory = memory
    self.range = range
  }

  /// Values that limn owns, along one axis.
  package init(floats: [Float]) throws(LimnError) {
    let memory = try Memory(count: floats.count * 4) { buffer throws(LimnError) in
      floats.withUnsafeBytes { buffer.copyMemory(from: $0) }
    }
    self.init(type: .f32, shape: [floats.count], memory: memory, range: 0..<floats.count * 4)
  }

  /// Values that limn owns, in the given shape.
  package init(floats: [Float], shape: [Int]) throws(LimnError) {
    precondition(shape.reduce(1, *) == floats.count)
    let line = try Tensor(floats: floats)
    self.init(type: .f32, shape: shape, memory: line.memory, range: line.range)
  }

  package var count: Int { shape.reduce(1, *) }
  /// Whether the values are in memory or in a mapped file.
  package var isHere: Bool { range.upperBound <= memory.bytes.count }
  /// - Precondition: `isHere`.
  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory.bytes[range]) }

  /// - Throws: `unavailable` if the values are not here.
  package func requireValues() throws(LimnError) {
    if isHere { return }
    throw LimnError(
      .unavailable, "only the file's header is here, not its weights", in: memory.path, remedy: "fetch the whole file")
  }
}
