internal import CLimnKernels
package import LimnCore

/// A tensor's values as float32, exactly as the format's reference implementation computes them.
///
/// - Throws: bad data for a type that limn cannot compute with, for bytes that do not fit the shape, and for rows that
///   end inside a block.
package func dequantized(_ tensor: Tensor) throws(LimnError) -> [Float] {
  let (elements, bytes) = tensor.type.layout
  var recipe = limn_recipe()
  guard let type = tensor.type.kernelType,
    limn_recipe_init(&recipe, ISA.best.code, type, LIMN_FLOAT32) != 0
  else {
    throw LimnError.badData("a tensor's type cannot be converted to float32", found: tensor.type.rawValue)
  }
  let columns = tensor.shape.last ?? 1
  guard columns % elements == 0 else {
    throw LimnError.badData(
      "a tensor's rows end inside a block", expected: "a multiple of \(elements) columns", found: "\(columns)"
    )
  }
  let (count, isTooLarge) = tensor.shape.reduce((1, false)) { product, axis in
    let (value, overflow) = product.0.multipliedReportingOverflow(by: axis)
    return (value, product.1 || overflow || axis < 0)
  }
  guard !isTooLarge, tensor.range.count % bytes == 0, count % elements == 0,
    count / elements == tensor.range.count / bytes
  else {
    throw LimnError.badData(
      "a tensor's size and shape disagree", expected: "\(tensor.shape)", found: "\(tensor.range.count) bytes")
  }
  guard count > 0 else { return [] }
  try tensor.requireValues()
  return withExtendedLifetime(tensor.memory) {
    [Float](unsafeUninitializedCapacity: count) { values, initialized in
      // One call counts columns in 32 bits. Blocks continue from row to row, so a piece may cross rows.
      let piece = 1 << 20
      for start in stride(from: 0, to: count, by: piece) {
        recipe.dequantize(
          tensor.bytes.baseAddress! + start / elements * bytes, values.baseAddress! + start,
          Int32(min(piece, count - start)))
      }
      initialized = count
    }
  }
}
