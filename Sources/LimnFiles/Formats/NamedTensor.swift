package import LimnTensor

/// A tensor under the name that its file gives it.
package struct NamedTensor: Sendable {
  package let name: String
  package let tensor: Tensor
}
