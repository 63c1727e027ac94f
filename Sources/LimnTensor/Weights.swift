import LimnCore
import Synchronization

/// A weight matrix [rows, columns] in a backend's memory. Each row is one output of a linear layer (or one token of an
/// embedding table) and holds the weights of its inputs, in blocks of `type`.
package struct Matrix: Sendable {
  package let type: TensorType
  package let rows: Int
  package let columns: Int
  /// Bytes from one row to the next.
  package let rowBytes: Int
  /// The address of row 0.
  package let address: Address
  /// Keeps the memory alive.
  package let owner: any AnyObject & Sendable
  /// Shared by copies.
  private let unevenness = Unevenness()

  /// A tensor with two or more axes (the inner ones are flattened into one) at a place in a backend's memory. Columns
  /// must fill whole blocks.
  package init(_ tensor: Tensor, at address: Address, owner: any AnyObject & Sendable) {
    let layout = tensor.type.layout
    let columns = tensor.shape.dropFirst().reduce(1, *)
    precondition(columns % layout.elements == 0 && !tensor.shape.isEmpty)
    type = tensor.type
    rows = tensor.shape[0]
    self.columns = columns
    rowBytes = columns / layout.elements * layout.bytes
    self.address = address
    self.owner = owner
  }

  private init(_ matrix: Matrix, rows: Range<Int>) {
    type = matrix.type
    self.rows = rows.count
    columns = matrix.columns
    rowBytes = matrix.rowBytes
    address = matrix.address + rows.lowerBound * matrix.rowBytes
    owner = matrix.owner
  }

  /// A range of the rows, without a copy; this is how a fused projection is split into its parts.
  package func rows(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Matrix(self, rows: range)
  }

  /// Whether its columns are of very different sizes: what `look` finds, once, when it is first asked.
  func hasUnevenColumns(_ look: () -> Bool) -> Bool {
    let known = unevenness.known.load(ordering: .relaxed)
    if known != 0 { return known == 2 }
    let found = look()
    unevenness.known.store(found ? 2 : 1, ordering: .relaxed)
    return found
  }

  private final class Unevenness: Sendable {
    /// 0: not looked yet; 1: even; 2: uneven.
    let known = Atomic(0)
  }

  /// The number of values.
  package var count: Int { rows * columns }
  /// The size of the rows in memory, in bytes.
  package var byteCount: Int { rows * rowBytes }
}

/// A short weight (a norm, a bias, a class embedding) in float32 in a backend's memory, converted when it is loaded: it
/// takes only a few kilobytes.
package struct Vector: Sendable {
  package let address: Address
  package let count: Int
  /// Keeps the memory alive.
  package let owner: any AnyObject & Sendable

  package init(_ address: Address, count: Int, owner: any AnyObject & Sendable) {
    self.address = address
    self.count = count
    self.owner = owner
  }

  /// A range of the values, in place.
  package func values(_ range: Range<Int>) -> Vector {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    return Vector(address + range.lowerBound * 4, count: range.count, owner: owner)
  }

  /// The same values as rows of activations, which must only be read.
  package func rows(width: Int) -> Activations {
    precondition(count % width == 0)
    return Activations(address, rows: count / width, width: width)
  }
}

/// What an adapter (LoRA) adds to a linear layer: scale · B(A(x)), with the scale already in B.
package struct LowRank: Sendable {
  /// The index of its adapter among those loaded with the model; nil for an adapter that is part of the checkpoint and
  /// applies to all rows.
  package let adapter: Int?
  package let a: Linear  // [rank, inputs]
  package let b: Linear  // [outputs, rank]

  package init(adapter: Int?, a: Linear, b: Linear) {
    precondition(a.outputs == b.inputs)
    self.adapter = adapter
    self.a = a
    self.b = b
  }
}

/// A linear layer: y = x · weightᵀ + bias, plus what adapters add for the rows that use them.
package struct Linear: Sendable {
  package let weight: Matrix  // [outputs, inputs]
  package let bias: Vector?  // [outputs]
  package let adapters: [LowRank]

  package init(weight: Matrix, bias: Vector? = nil, adapters: [LowRank] = []) {
    precondition(bias == nil || bias!.count == weight.rows)
    precondition(adapters.allSatisfy { $0.a.inputs == weight.columns && $0.b.outputs == weight.rows })
    self.weight = weight
    self.bias = bias
    self.adapters = adapters
  }

  package var inputs: Int { weight.columns }
  package var outputs: Int { weight.rows }

  /// A range of the outputs, without a copy: one part of a fused projection.
  package func outputs(_ range: Range<Int>) -> Linear {
    Linear(
      weight: weight.rows(range), bias: bias?.values(range),
      adapters: adapters.map { LowRank(adapter: $0.adapter, a: $0.a, b: $0.b.outputs(range)) })
  }
}
