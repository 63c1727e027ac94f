package import LimnCore

/// A weight matrix [rows, columns] as the file has it: each row is one output of a linear layer (or one
/// token of an embedding table), its columns the inputs, in blocks of `type`.
package struct Matrix: Sendable {
  package let type: TensorType
  package let rows: Int
  package let columns: Int
  /// Bytes from one row to the next.
  package let rowBytes: Int
  package let memory: Memory
  /// Where in `memory` row 0 begins.
  package let offset: Int

  /// Takes a tensor with two axes (or more: the inner ones count as one). Columns must fill whole blocks.
  package init(_ tensor: Tensor) {
    let layout = tensor.type.layout
    let columns = tensor.shape.dropFirst().reduce(1, *)
    precondition(columns % layout.elements == 0 && !tensor.shape.isEmpty)
    self.type = tensor.type
    self.rows = tensor.shape[0]
    self.columns = columns
    self.rowBytes = columns / layout.elements * layout.bytes
    self.memory = tensor.memory
    self.offset = tensor.range.lowerBound
  }

  private init(_ matrix: Matrix, rows: Range<Int>) {
    type = matrix.type
    self.rows = rows.count
    columns = matrix.columns
    rowBytes = matrix.rowBytes
    memory = matrix.memory
    offset = matrix.offset + rows.lowerBound * matrix.rowBytes
  }

  /// Some of the rows, without a copy: how the parts of a fused projection are told apart.
  package func rows(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Matrix(self, rows: range)
  }

  package var start: UnsafeRawPointer { memory.bytes.baseAddress! + offset }

  /// How many values it has.
  package var count: Int { rows * columns }
  /// What the rows take in memory.
  package var byteCount: Int { rows * rowBytes }
}

/// A short weight (a norm, a bias, a class embedding) in float32, converted at load: these are a few kilobytes.
// @unchecked: written once in `init`, never after.
package final class Vector: @unchecked Sendable {
  package let values: UnsafeBufferPointer<Float>

  package init(_ values: [Float]) {
    let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: values.count)
    _ = copy.initialize(from: values)
    self.values = UnsafeBufferPointer(copy)
  }

  deinit { UnsafeMutableBufferPointer(mutating: values).deallocate() }

  package var count: Int { values.count }
}

/// A linear layer: y = x · weightᵀ + bias.
package struct Linear: Sendable {
  package let weight: Matrix  // [outputs, inputs]
  package let bias: Vector?  // [outputs]

  package init(weight: Matrix, bias: Vector? = nil) {
    precondition(bias == nil || bias!.count == weight.rows)
    self.weight = weight
    self.bias = bias
  }

  package var inputs: Int { weight.columns }
  package var outputs: Int { weight.rows }
}
