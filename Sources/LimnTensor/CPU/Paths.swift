package import CLimnKernels

extension TensorType {
  /// The code of this type in the kernels; nil where they have none.
  var kernelType: limn_type? {
    switch self {
    case .f32: LIMN_F32
    case .f16: LIMN_F16
    case .bf16: LIMN_BF16
    case .q8_0: LIMN_Q8_0
    case .q4_0: LIMN_Q4_0
    case .q4_K: LIMN_Q4_K
    case .q6_K: LIMN_Q6_K
    case .q4_1: LIMN_Q4_1
    case .q5_0: LIMN_Q5_0
    case .q5_1: LIMN_Q5_1
    case .q2_K: LIMN_Q2_K
    case .q3_K: LIMN_Q3_K
    case .q5_K: LIMN_Q5_K
    case .iq4_NL: LIMN_IQ4_NL
    case .iq4_XS: LIMN_IQ4_XS
    case .iq2_XXS: LIMN_IQ2_XXS
    case .iq2_XS: LIMN_IQ2_XS
    case .iq2_S: LIMN_IQ2_S
    case .iq3_XXS: LIMN_IQ3_XXS
    case .iq3_S: LIMN_IQ3_S
    case .iq1_S: LIMN_IQ1_S
    case .iq1_M: LIMN_IQ1_M
    case .tq1_0: LIMN_TQ1_0
    case .tq2_0: LIMN_TQ2_0
    case .mxfp4: LIMN_MXFP4
    case .nvfp4: LIMN_NVFP4
    case .nf4: LIMN_NF4
    case .nf4_F16: LIMN_NF4_F16
    case .nf4_BF16: LIMN_NF4_BF16
    case .fp4: LIMN_FP4
    case .fp4_F16: LIMN_FP4_F16
    case .fp4_BF16: LIMN_FP4_BF16
    case .llmInt8: LIMN_LLM_INT8
    default: nil
    }
  }

  /// Whether `Backend` can take weights of this type; a loader refuses the others.
  package var isComputable: Bool { kernelType != nil }
}

extension KVType {
  /// The code of this type in the kernels.
  var kernelType: limn_type {
    switch self {
    case .f32: LIMN_F32
    case .f16: LIMN_F16
    case .q8_0: LIMN_Q8_0
    }
  }
}

/// The ways to multiply on one instruction set: one `limn_path` for each weight type and arithmetic that it
/// has.
// @unchecked: written once in `init`, never after.
package final class Paths: @unchecked Sendable {
  private let table: UnsafeMutablePointer<limn_path>
  private let isFilled: [Bool]
  private static let arithmetics = Int(LIMN_ARITHMETICS.rawValue)

  package init(isa: ISA) {
    let count = Int(LIMN_TYPES.rawValue) * Self.arithmetics
    table = .allocate(capacity: count)
    table.initialize(repeating: limn_path(), count: count)
    var isFilled = [Bool](repeating: false, count: count)
    for index in 0..<count {
      let type = limn_type(UInt32(index / Self.arithmetics))
      let arithmetic = limn_arithmetic(UInt32(index % Self.arithmetics))
      isFilled[index] = limn_path_init(table + index, isa.code, type, arithmetic) != 0
    }
    self.isFilled = isFilled
  }

  deinit { table.deallocate() }

  package subscript(type: TensorType, arithmetic: limn_arithmetic) -> UnsafePointer<limn_path>? {
    guard let code = type.kernelType else { return nil }
    let index = Int(code.rawValue) * Self.arithmetics + Int(arithmetic.rawValue)
    return isFilled[index] ? UnsafePointer(table + index) : nil
  }

  /// The fastest path within the fidelity that `precision` promises.
  func preferred(_ type: TensorType, _ precision: Precision, _ phase: Phase) -> UnsafePointer<limn_path> {
    precondition(type.isComputable, "\(type.rawValue) is not a type to compute with")
    let exact = self[type, LIMN_FLOAT32]!
    if precision == .exact { return exact }
    let fast =
      switch phase {
      case .prefill:
        self[type, LIMN_REQUANTIZED] ?? self[type, LIMN_INT16] ?? self[type, LIMN_INTEGER_SCALES] ?? self[type, LIMN_INT8]
          ?? self[type, LIMN_BFLOAT16]
      case .decode: self[type, LIMN_INT8] ?? self[type, LIMN_FLOAT32_ROWS]
      }
    return fast ?? exact
  }
}
