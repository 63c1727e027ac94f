package import LimnCore
package import LimnTensor

/// What an adapter adds to one weight: scale · B · A, or its transpose, as the adapter's file has it. The weight itself
/// is made when somebody needs it.
package struct AdapterUpdate: Sendable {
  /// [rank, inputs]
  let a: Tensor
  /// [outputs, rank]
  let b: Tensor
  let rank: Int
  let scale: Float
  /// Whether the weight is [inputs, outputs].
  let isTransposed: Bool

  /// The weight with what is added, in memory of its own.
  package func merged(into weight: Tensor, on cpu: CPU) throws(LimnError) -> Tensor {
    try cpu.merged(
      weight,
      LowRankUpdate(
        a: try dequantized(a), b: try dequantized(b), rank: rank, scale: scale, isTransposed: isTransposed))
  }

  /// Nobody reads the bytes of the files again: see `Memory.release`.
  package func release() {
    for half in [a, b] { half.memory.release(half.range) }
  }
}
