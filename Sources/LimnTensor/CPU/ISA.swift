internal import CLimnKernels

internal import CLimnSystem
package import LimnCore

/// The instruction sets that the kernels are compiled for, in ascending order of preference.
package enum ISA: String, Sendable, CaseIterable {
  case scalar, neon, avx2, avx512

  var code: limn_isa {
    switch self {
    case .scalar: LIMN_SCALAR
    case .neon: LIMN_NEON
    case .avx2: LIMN_AVX2
    case .avx512: LIMN_AVX512
    }
  }

  /// Whether this machine and its operating system support it.
  package var isSupported: Bool { limn_isa_supported(code) != 0 }

  /// The best one on this machine.
  package static var best: ISA { allCases.last { $0.isSupported }! }

  /// The one named by the environment variable LIMN_ISA, or else the best.
  static func chosen() throws(LimnError) -> ISA {
    guard let value = getenv("LIMN_ISA"), value.pointee != 0 else { return best }
    return try named(String(cString: value))
  }

  /// - Throws: for a name that does not exist, or that this machine lacks.
  package static func named(_ name: String) throws(LimnError) -> ISA {
    let supported = allCases.filter(\.isSupported).map(\.rawValue).joined(separator: ", ")
    guard let isa = ISA(rawValue: name) else {
      throw LimnError(
        .usage, "LIMN_ISA names no instruction set", expected: supported, found: name,
        remedy: "unset LIMN_ISA")
    }
    guard isa.isSupported else {
      throw LimnError(
        .unavailable, "this machine lacks the instruction set that LIMN_ISA names", expected: supported,
        found: name, remedy: "unset LIMN_ISA")
    }
    return isa
  }
}
