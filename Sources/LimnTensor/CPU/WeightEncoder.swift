internal import CLimnKernels
package import LimnCore

/// The error of writing weights in another type, as sums over all of their values.
package struct EncodingLoss: Sendable {
  /// Σ (x − x̂)²
  package var error = 0.0
  /// Σ x²
  package var norm = 0.0

  package init() {}

  /// The root mean square error, relative to the root mean square of the weights; 0 if all weights are 0.
  package var relative: Double { norm > 0 ? (error / norm).squareRoot() : 0 }

  package static func += (a: inout EncodingLoss, b: EncodingLoss) {
    a.error += b.error
    a.norm += b.norm
  }
}

/// Writes weights in another type, on all cores, some rows at a time, so that memory use does not grow with the tensor.
package final class WeightEncoder {
  /// For other work on weights with the same threads.
  package let cpu: CPU
  private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 64)

  /// About this many bytes of the result are produced between two writes.
  private static let piece = 4 << 20

  /// - Parameters:
  ///   - threads: nil for the number of physical cores that this process may use.
  ///   - isa: nil for the one named by LIMN_ISA, or else the best that the machine has.
  package init(threads: Int? = nil, isa: ISA? = nil) throws(LimnError) {
    cpu = try CPU(threads: threads, precision: .exact, isa: isa)
  }

  deinit { buffer.deallocate() }

  /// Writes a tensor's rows in another type. If the type is the same, the bytes are passed through.
  /// - Parameters:
  ///   - tensor: [rows, …]; a single axis is one row.
  ///   - order: which of the tensor's rows becomes each row of the result; nil: all rows in their order.
  ///   - name: the tensor's name, for messages.
  ///   - write: receives the bytes in order.
  /// - Throws: bad data, always with the tensor's name, for a type that limn does not read, and for values that are not
  ///   finite or that the type cannot hold; and whatever `write` throws.
  package func encode(
    _ tensor: Tensor, order: [Int32]? = nil, as type: TensorType, name: String,
    write: (UnsafeRawBufferPointer) throws(LimnError) -> Void
  ) throws(LimnError) -> EncodingLoss {
    guard tensor.count > 0 else { return EncodingLoss() }
    let rows = tensor.shape.count > 1 ? tensor.shape[0] : 1
    let columns = tensor.count / rows
    guard let rowBytes = tensor.type.byteCount(elements: columns), rowBytes * rows == tensor.range.count else {
      throw LimnError.badData("the size and the shape of the tensor \(name) disagree", found: "\(tensor.shape)")
    }
    precondition(order?.allSatisfy { $0 >= 0 && $0 < rows } ?? true)
    if tensor.type == type { return try copy(tensor, order, rowBytes, write) }
    let (pool, isa) = (cpu.pool, cpu.isa)
    var recipe = limn_recipe()
    guard let source = tensor.type.kernelType, limn_recipe_init(&recipe, isa.code, source, LIMN_FLOAT32) != 0 else {
      throw LimnError.badData(
        "the tensor \(name) has a type that limn cannot convert", found: tensor.type.rawValue)
    }
    guard let target = type.kernelType, let encode = limn_encoder(isa.code, target),
      let resultBytes = type.byteCount(elements: columns), columns <= Int(Int32.max)
    else {
      throw LimnError.badData(
        "the rows of the tensor \(name) do not fill whole \(type.rawValue) blocks",
        expected: "a multiple of \(type.layout.elements)", found: "\(columns)")
    }
    let resultRows = order?.count ?? rows
    let atOnce = max(1, min(resultRows, Self.piece / max(resultBytes, columns * 2)))
    reserve(atOnce * resultBytes)
    var losses = [limn_loss](repeating: limn_loss(), count: atOnce)
    var total = EncodingLoss()
    for start in stride(from: 0, to: resultRows, by: atOnce) {
      let count = min(atOnce, resultRows - start)
      withExtendedLifetime(tensor.memory) {
        let first = tensor.bytes.baseAddress!
        let all = order ?? []
        all.withUnsafeBufferPointer { order in
          losses.withUnsafeMutableBufferPointer { losses in
            withUnsafePointer(to: recipe) { recipe in
              var job = limn_encode_job(
                source: recipe, weight: order.isEmpty ? first + start * rowBytes : first, row_bytes: rowBytes,
                order: order.isEmpty ? nil : order.baseAddress! + start, columns: columns, encode: encode,
                result: buffer.baseAddress!, result_row_bytes: resultBytes, losses: losses.baseAddress!)
              let scratch = limn_encode_scratch(&job)
              pool.exclusively { pool.run(limn_encode_rows(isa.code), &job, count: count, scratch: scratch) }
            }
          }
        }
      }
      for row in 0..<count { try add(losses[row], to: &total, type, name) }
      try write(UnsafeRawBufferPointer(rebasing: buffer[..<(count * resultBytes)]))
      if order == nil { release(tensor, start * rowBytes..<(start + count) * rowBytes) }
    }
    return total
  }

  private func add(
    _ loss: limn_loss, to total: inout EncodingLoss, _ type: TensorType, _ name: String
  ) throws(LimnError) {
    guard !loss.norm.isNaN else {
      throw LimnError.badData(
        "the tensor \(name) holds a value that is not finite", expected: "finite weights", found: "NaN or infinity",
        remedy: "fetch the file again; if it is whole, its training went wrong")
    }
    guard loss.error.isFinite else {
      throw LimnError.badData(
        "the tensor \(name) holds values too large for \(type.rawValue)", remedy: "choose F32 or BF16")
    }
    total.error += loss.error
    total.norm += loss.norm
  }

  private func copy(
    _ tensor: Tensor, _ order: [Int32]?, _ rowBytes: Int,
    _ write: (UnsafeRawBufferPointer) throws(LimnError) -> Void
  ) throws(LimnError) -> EncodingLoss {
    defer { withExtendedLifetime(tensor.memory) {} }
    let bytes = tensor.bytes
    guard let order else {
      for start in stride(from: 0, to: bytes.count, by: Self.piece) {
        let piece = start..<min(start + Self.piece, bytes.count)
        try write(UnsafeRawBufferPointer(rebasing: bytes[piece]))
        release(tensor, piece)
      }
      return EncodingLoss()
    }
    let atOnce = max(1, Self.piece / rowBytes)
    reserve(min(atOnce, order.count) * rowBytes)
    for start in stride(from: 0, to: order.count, by: atOnce) {
      let rows = order[start..<min(start + atOnce, order.count)]
      for (place, row) in rows.enumerated() {
        buffer.baseAddress!.advanced(by: place * rowBytes)
          .copyMemory(from: bytes.baseAddress! + Int(row) * rowBytes, byteCount: rowBytes)
      }
      try write(UnsafeRawBufferPointer(rebasing: buffer[..<(rows.count * rowBytes)]))
    }
    return EncodingLoss()
  }

  /// Tells the system that these bytes of the tensor are not read again.
  private func release(_ tensor: Tensor, _ range: Range<Int>) {
    tensor.memory.release(
      tensor.range.lowerBound + range.lowerBound..<tensor.range.lowerBound + range.upperBound)
  }

  private func reserve(_ count: Int) {
    guard buffer.count < count else { return }
    buffer.deallocate()
    buffer = .allocate(byteCount: count, alignment: 64)
  }
}
