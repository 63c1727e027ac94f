package import LimnTensor

/// A tensor under the name that its file gives it.
package struct NamedTensor: Sendable {
  package let name: String
  package let tensor: Tensor
}

/// How many elements a shape has; nil where the number overflows, be it only without the axes of size 0: so
/// whoever multiplies sizes of a tensor in any order is safe.
func elementCount(of shape: [Int]) -> Int? {
  var product = 1
  for size in shape where size != 0 {
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    guard !overflow else { return nil }
    product = next
  }
  return shape.contains(0) ? 0 : product
}
