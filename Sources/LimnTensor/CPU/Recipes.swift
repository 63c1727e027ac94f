package import CLimnKernels

extension KVType {
  /// The code of this type in the kernels.
  var kernelType: limn_type {
    switch self {
    case .f32: LIMN_F32
    case .f16: LIMN_F16
    case .q8_0: LIMN_Q8_0
    }
  }

  /// The weight type that is stored in the same way.
  var tensorType: TensorType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .q8_0: .q8_0
    }
  }
}

/// The ways to multiply on one instruction set: one `limn_recipe` for each weight type and each arithmetic that the
/// type supports.
// @unchecked: written once in `init`, never after.
package final class Recipes: @unchecked Sendable {
  private let isa: ISA
  private let table: UnsafeMutablePointer<limn_recipe>
  private let isFilled: [Bool]
  private static let arithmetics = Int(LIMN_ARITHMETICS.rawValue)

  package init(isa: ISA) {
    self.isa = isa
    let count = Int(LIMN_TYPES.rawValue) * Self.arithmetics
    table = .allocate(capacity: count)
    table.initialize(repeating: limn_recipe(), count: count)
    var isFilled = [Bool](repeating: false, count: count)
    for index in 0..<count {
      let type = limn_type(UInt32(index / Self.arithmetics))
      let arithmetic = limn_arithmetic(UInt32(index % Self.arithmetics))
      isFilled[index] = limn_recipe_init(table + index, isa.code, type, arithmetic) != 0
    }
    self.isFilled = isFilled
  }

  deinit { table.deallocate() }

  package subscript(type: TensorType, arithmetic: limn_arithmetic) -> UnsafePointer<limn_recipe>? {
    guard let code = type.kernelType else { return nil }
    let index = Int(code.rawValue) * Self.arithmetics + Int(arithmetic.rawValue)
    return isFilled[index] ? UnsafePointer(table + index) : nil
  }

  /// The fastest recipe that is as exact as `precision` promises.
  func preferred(_ type: TensorType, _ precision: Precision, _ phase: Phase) -> UnsafePointer<limn_recipe> {
    precondition(type.isComputable, "\(type.rawValue) is not a type to compute with")
    let exact = self[type, LIMN_FLOAT32]!
    if precision == .exact { return exact }
    let preferred: [limn_arithmetic] =
      switch phase {
      // Floats keep more than the 8 bits of bfloat16, unless they have no more. Processors that only the scalar reference
      // knows have no such products.
      case .prefill:
        ([.f16, .f32].contains(type) || isa == .scalar ? [] : [LIMN_BFLOAT16]) + [LIMN_INT16, LIMN_INT8_32, LIMN_INT8]
      case .decode: [LIMN_INT8, LIMN_FLOAT32_ROWS]
      }
    return preferred.lazy.compactMap { self[type, $0] }.first ?? exact
  }
}
