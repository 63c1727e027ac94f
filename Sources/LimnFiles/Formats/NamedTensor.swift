package import LimnTensor

/// A tensor with its name in the file.
package struct NamedTensor: Sendable {
  package let name: String
  package let tensor: Tensor
}

/// How many elements a shape has; nil if the number overflows, even if an axis of size 0 would make it 0, so that
/// sizes can safely be multiplied in any order.
func elementCount(of shape: [Int]) -> Int? {
  var product = 1
  for size in shape where size != 0 {
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    guard !overflow else { return nil }
    product = next
  }
  return shape.contains(0) ? 0 : product
}
