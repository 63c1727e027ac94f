internal import CLimnKernels
package import LimnCore

/// What an adapter adds to a weight, as stored in its file: scale · B · A, or the transpose of that.
package struct LowRankUpdate: Sendable {
  /// [rank, inputs]
  package let a: Tensor
  /// [outputs, rank]
  package let b: Tensor
  package let scale: Float
  /// Whether the weight is [inputs, outputs], as in an embedding table or a layer with `fan_in_fan_out`.
  package let isTransposed: Bool

  package init(a: Tensor, b: Tensor, scale: Float, isTransposed: Bool) {
    precondition(a.shape.count == 2 && b.shape.count == 2 && a.shape[0] == b.shape[1] && a.shape[0] > 0)
    self.a = a
    self.b = b
    self.scale = scale
    self.isTransposed = isTransposed
  }

  package var rank: Int { a.shape[0] }
}

extension CPU {
  /// The weight types that an update can be added to.
  package static let mergeable: Set<TensorType> = [.f32, .f16, .bf16]

  /// The weight [rows, columns] plus an update, added in float32 and rounded once to the weight's type.
  /// - Precondition: the shapes fit, and the weight's type is one of `mergeable`.
  package func merged(_ weight: Tensor, _ update: LowRankUpdate) throws(LimnError) -> Tensor {
    let (rows, columns, rank) = (weight.shape[0], weight.shape[1], update.rank)
    let (a, b) = (try dequantized(update.a), try dequantized(update.b))
    precondition(weight.shape.count == 2)
    precondition((update.isTransposed ? a : b).count == rows * rank)
    precondition((update.isTransposed ? b : a).count == columns * rank)
    precondition(Self.mergeable.contains(weight.type))
    let type = weight.type.kernelType!
    var recipe = limn_recipe()
    _ = limn_recipe_init(&recipe, isa.code, type, LIMN_FLOAT32)
    let memory = try Memory(count: weight.range.count) { target in
      if target.count == 0 { return }
      withExtendedLifetime(weight.memory) {
        a.withUnsafeBufferPointer { a in
          b.withUnsafeBufferPointer { b in
            withUnsafePointer(to: &recipe) { recipe in
              let (left, right) = update.isTransposed ? (a, b) : (b, a)
              var job = limn_low_rank_job(
                recipe: recipe, weight: weight.bytes.baseAddress, row_bytes: weight.range.count / rows, rows: rows,
                columns: columns, rank: rank, left: left.baseAddress,
                left_row: update.isTransposed ? 1 : rank, left_rank: update.isTransposed ? rows : 1,
                right: right.baseAddress, right_rank: update.isTransposed ? 1 : columns,
                right_column: update.isTransposed ? rank : 1, scale: update.scale, type: type,
                merged: target.baseAddress)
              let groups = (columns + Int(LIMN_LOW_RANK_COLUMNS) - 1) / Int(LIMN_LOW_RANK_COLUMNS)
              pool.exclusively {
                pool.run(kernels.low_rank, &job, count: groups, scratch: limn_low_rank_scratch(&job))
              }
            }
          }
        }
      }
    }
    return Tensor(type: weight.type, shape: weight.shape, memory: memory, range: 0..<memory.bytes.count)
  }
}
