package import LimnCore
package import LimnTensor

/// A tensor that is going to be written.
package struct TensorHeader: Sendable {
  /// As the file calls it.
  package let name: String
  package let type: TensorType
  /// Outermost axis first.
  package let shape: [Int]
  /// Of its data.
  package let byteCount: Int

  /// - Throws: a defect of limn, if the shape does not fill whole blocks.
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

/// How a weight file is laid out before its data exists: what it begins with, then the tensors in their order,
/// each followed by zeros.
package struct WeightFileLayout: Sendable {
  package let header: [UInt8]
  package let tensors: [TensorHeader]
  /// How many zeros follow each tensor's data.
  package let padding: [Int]

  /// Of the whole file.
  package var byteCount: Int {
    header.count + tensors.reduce(0) { $0 + $1.byteCount } + padding.reduce(0, +)
  }
}
