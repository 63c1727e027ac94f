import LimnCore
import LimnTensor

/// Shape and strides of a tensor, in elements, checked against overflow.
struct Strides {
  let shape: [Int]
  let strides: [Int]
  /// The number of elements in the tensor.
  let count: Int
  /// One more than the position of the furthest element; 0 for an empty tensor.
  let extent: Int

  init?(shape: [Int], strides: [Int]) {
    self.shape = shape
    self.strides = strides
    guard let count = elementCount(of: shape) else { return nil }
    guard count > 0 else {
      self.count = 0
      extent = 0
      return
    }
    var last = 0
    for (size, stride) in zip(shape, strides) {
      let (reach, tooFar) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, beyond) = last.addingReportingOverflow(reach)
      guard !tooFar, !beyond else { return nil }
      last = sum
    }
    guard last < .max else { return nil }
    self.count = count
    extent = last + 1
  }

  /// Whether the elements lie row by row. The stride of an axis of size 1 does not matter.
  var isContiguous: Bool {
    if count == 0 { return true }
    var expected = 1
    for (size, stride) in zip(shape, strides).reversed() where size != 1 {
      guard stride == expected else { return false }
      expected *= size
    }
    return true
  }

  /// Copies the elements row by row into new memory.
  func copy(_ source: UnsafeRawPointer, elementSize: Int) throws(LimnError) -> Memory {
    try Memory(count: count * elementSize) { target throws(LimnError) in
      var indices = shape.map { _ in 0 }
      var place = 0
      for element in 0..<count {
        (target.baseAddress! + element * elementSize).copyMemory(
          from: source + place * elementSize, byteCount: elementSize)
        var axis = shape.count - 1
        while axis >= 0 {
          indices[axis] += 1
          place += strides[axis]
          if indices[axis] < shape[axis] { break }
          place -= strides[axis] * shape[axis]
          indices[axis] = 0
          axis -= 1
        }
      }
    }
  }
}
