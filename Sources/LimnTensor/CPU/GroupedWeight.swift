internal import CLimnKernels
package import LimnCore

/// A weight matrix whose codes have a scale and an offset for each group of inputs, as MLX, AWQ and GPTQ store it.
package struct GroupedWeight: Sendable {
  package enum Layout: Sendable, Equatable {
    /// weight = code · scale + offset
    case mlx
    /// weight = (code − zero) · scale, codes [inputs, outputs]
    case awq
    /// The same in another order. What is stored of a zero point is less by `zeroShift`.
    case gptq(zeroShift: Int)

    package var name: String {
      switch self {
      case .mlx: "MLX"
      case .awq: "AWQ"
      case .gptq: "GPTQ"
      }
    }
  }

  package let layout: Layout
  /// [outputs, inputs]
  package let shape: [Int]
  package let bits: Int
  /// How many inputs share a scale.
  package let groupSize: Int
  package let codes: Tensor
  /// F32, F16 or BF16.
  package let scales: Tensor
  /// MLX's offsets, of the scales' type, or codes of zero points.
  package let offsets: Tensor
  /// GPTQ: I32 [inputs], the group of each; nil: in order.
  package let groups: Tensor?

  /// Checks nothing but the codes' size: the code that reads these numbers from a file has checked them all.
  package init(
    layout: Layout, shape: [Int], bits: Int, groupSize: Int, codes: Tensor, scales: Tensor, offsets: Tensor,
    groups: Tensor? = nil
  ) {
    precondition(shape.count == 2 && groupSize > 0 && shape[0] * shape[1] * bits == codes.range.count * 8)
    self.layout = layout
    self.shape = shape
    self.bits = bits
    self.groupSize = groupSize
    self.codes = codes
    self.scales = scales
    self.offsets = offsets
    self.groups = groups
  }

  /// "MLX4"
  package var name: String { "\(layout.name)\(bits)" }

  /// Q4_1 or Q5_1, whose blocks hold MLX's codes and 16-bit scales as they are, or else floats.
  var packedType: TensorType {
    if scales.type == .f32 { return .f32 }
    guard layout == .mlx, groupSize % 32 == 0, bits <= 5 else { return .f16 }
    return bits <= 4 ? .q4_1 : .q5_1
  }

  func packed(on cpu: CPU) throws(LimnError) -> Tensor {
    let type = packedType
    if let groups {
      let known = UInt32(scales.shape[0])
      let isKnown = withExtendedLifetime(groups.memory) {
        (0..<groups.count).allSatisfy { groups.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) < known }
      }
      guard isKnown else {
        throw LimnError.badData(
          "an input belongs to a group that has no scale", in: groups.memory.path,
          expected: "0 to \(known - 1) in g_idx",
          remedy: "fetch the model's files again")
      }
    }
    let (kind, shift): (limn_grouped_layout, Int) =
      switch layout {
      case .mlx: (LIMN_MLX, 0)
      case .awq: (LIMN_AWQ, 0)
      case .gptq(let zeroShift): (LIMN_GPTQ, zeroShift)
      }
    let memory = try Memory(count: type.byteCount(elements: shape[0] * shape[1])!) { (buffer) throws(LimnError) in
      withExtendedLifetime((codes.memory, scales.memory, offsets.memory, groups?.memory)) {
        var job = limn_grouped_job(
          layout: kind, codes: codes.bytes.baseAddress, scales: scales.bytes.baseAddress,
          offsets: offsets.bytes.baseAddress, scale_type: scales.type.kernelType!,
          groups: groups?.bytes.baseAddress, rows: shape[0], columns: shape[1], group_size: groupSize,
          bits: Int32(bits), zero_shift: Int32(shift), type: type.kernelType!, packed: buffer.baseAddress)
        let items = (shape[0] + Int(LIMN_GROUPED_ROWS) - 1) / Int(LIMN_GROUPED_ROWS)
        cpu.share(cpu.kernels.expand_grouped, &job, count: items, grain: 1)
      }
    }
    return Tensor(type: type, shape: shape, memory: memory, range: 0..<memory.bytes.count)
  }
}
