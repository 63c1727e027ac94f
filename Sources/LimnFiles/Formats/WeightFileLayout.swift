package import LimnCore
package import LimnTensor

/// A tensor that limn will write.
package struct TensorHeader: Sendable {
  /// The name in the file.
  package let name: String
  package let type: TensorType
  /// Outermost axis first.
  package let shape: [Int]
  /// The size of its data.
  package let byteCount: Int

  /// - Throws: a defect of limn if the shape does not fill whole blocks.
  package init(name: String, type: TensorType, shape: [Int]) throws(LimnError) {
    guard (shape.last ?? 1) % type.layout.elements == 0,
      let bytes = elementCount(of: shape).flatMap(type.byteCount)
    else {
      throw LimnError(.defect, "a tensor that \(type.rawValue) cannot hold", in: name, found: "\(shape)")
    }
    self.name = name
    self.type = type
    self.shape = shape
    byteCount = bytes
  }
}

/// The layout of a weight file, planned before its data exists: the header, then the tensors in order, each followed
/// by zeros.
package struct WeightFileLayout: Sendable {
  package let header: [UInt8]
  package let tensors: [TensorHeader]
  /// How many zeros follow each tensor's data.
  package let padding: [Int]

  /// The size of the whole file.
  package var byteCount: Int {
    header.count + tensors.reduce(0) { $0 + $1.byteCount } + padding.reduce(0, +)
  }
}
