internal import CLimnKernels

internal import CLimnSystem
package import LimnCore

/// The instruction sets that the kernels have instances for, in ascending order of preference.
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

  /// Whether this machine and its operating system can run it.
  package var isSupported: Bool { limn_isa_supported(code) != 0 }

  /// The best one here.
  package static var best: ISA { allCases.last { $0.isSupported }! }

  /// The one that the environment variable LIMN_ISA names, else the best.
  static func chosen() throws(LimnError) -> ISA {
    guard let value = getenv("LIMN_ISA"), value.pointee != 0 else { return best }
    return try named(String(cString: value))
  }

  /// - Throws: a name that is none, or one that this machine lacks.
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
