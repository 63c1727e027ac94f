internal import CLimnKernels

/// The element types that weight files hold, quantised blocks among them.
///
/// The kernels compute with the types that have a row in CLimnKernels' `formats.def`. A new weight format is a row and
/// a file there, and a case here whose raw value is the row's spelling. The other types are only listed, or refused by
/// name.
package enum TensorType: String, Sendable, CaseIterable {
  // Plain numbers. The raw value is the name that people see, spelled as in the file formats.
  case f64 = "F64"
  case f32 = "F32"
  case f16 = "F16"
  case bf16 = "BF16"
  case i64 = "I64"
  case i32 = "I32"
  case i16 = "I16"
  case i8 = "I8"
  case u64 = "U64"
  case u32 = "U32"
  case u16 = "U16"
  case u8 = "U8"
  case bool = "BOOL"
  // Numbers that safetensors files may hold. limn lists them, but does not compute with them.
  case f8_E4M3 = "F8_E4M3"
  case f8_E5M2 = "F8_E5M2"
  case f8_E8M0 = "F8_E8M0"
  case f8_E4M3FNUZ = "F8_E4M3FNUZ"
  case f8_E5M2FNUZ = "F8_E5M2FNUZ"
  case f6_E2M3 = "F6_E2M3"
  case f6_E3M2 = "F6_E3M2"
  case f4 = "F4"
  case c64 = "C64"
  // GGML blocks.
  case q1_0 = "Q1_0"
  case q2_0 = "Q2_0"
  case q4_0 = "Q4_0"
  case q4_1 = "Q4_1"
  case q5_0 = "Q5_0"
  case q5_1 = "Q5_1"
  case q8_0 = "Q8_0"
  case q8_1 = "Q8_1"
  case q2_K = "Q2_K"
  case q3_K = "Q3_K"
  case q4_K = "Q4_K"
  case q5_K = "Q5_K"
  case q6_K = "Q6_K"
  case q8_K = "Q8_K"
  case iq1_S = "IQ1_S"
  case iq1_M = "IQ1_M"
  case iq2_XXS = "IQ2_XXS"
  case iq2_XS = "IQ2_XS"
  case iq2_S = "IQ2_S"
  case iq3_XXS = "IQ3_XXS"
  case iq3_S = "IQ3_S"
  case iq4_NL = "IQ4_NL"
  case iq4_XS = "IQ4_XS"
  case tq1_0 = "TQ1_0"
  case tq2_0 = "TQ2_0"
  case mxfp4 = "MXFP4"
  case nvfp4 = "NVFP4"
  // bitsandbytes' weights after codes and scales are combined; no file contains these blocks. A 4-bit type is rounded
  // to the type of its checkpoint.
  case nf4 = "NF4"
  case nf4_F16 = "NF4_F16"
  case nf4_BF16 = "NF4_BF16"
  case fp4 = "FP4"
  case fp4_F16 = "FP4_F16"
  case fp4_BF16 = "FP4_BF16"
  case llmInt8 = "LLM.int8"

  /// Whether blocks of elements share scales.
  package var isQuantized: Bool { layout.elements > 1 }

  /// How many elements one block holds, and its size in bytes. All code that measures tensors uses this.
  package var layout: (elements: Int, bytes: Int) {
    if let format { return format.layout }
    switch self {
    case .f64, .i64, .u64, .c64: return (1, 8)
    case .i32, .u32: return (1, 4)
    case .i16, .u16: return (1, 2)
    case .i8, .u8, .bool, .f8_E4M3, .f8_E5M2, .f8_E8M0, .f8_E4M3FNUZ, .f8_E5M2FNUZ: return (1, 1)
    case .f6_E2M3, .f6_E3M2: return (4, 3)
    case .f4: return (2, 1)
    case .q1_0: return (128, 18)
    case .q2_0: return (64, 18)
    case .q8_1: return (32, 36)
    case .q8_K: return (256, 292)
    default: preconditionFailure("\(rawValue) has neither a row in formats.def nor one here")
    }
  }

  /// Its number in ggml, which GGUF files use; nil if ggml has no such type.
  package var ggml: UInt32? {
    if let format { return format.ggml }
    switch self {
    case .q8_1: return 9
    case .q8_K: return 15
    case .i8: return 24
    case .i16: return 25
    case .i32: return 26
    case .i64: return 27
    case .f64: return 28
    case .q1_0: return 41
    case .q2_0: return 42
    default: return nil
    }
  }

  /// The bytes that `elements` take; nil if they do not fill whole blocks or the number overflows.
  package func byteCount(elements: Int) -> Int? {
    guard elements >= 0, elements % layout.elements == 0 else { return nil }
    let (bytes, overflow) = (elements / layout.elements).multipliedReportingOverflow(by: layout.bytes)
    return overflow ? nil : bytes
  }
}

extension TensorType {
  /// What the kernels know about a type that they compute with: a row of `formats.def`.
  private struct Format {
    let code: limn_type
    let layout: (elements: Int, bytes: Int)
    let ggml: UInt32?
  }

  /// Indexed by `place`. An array, because every matrix product looks a type up.
  private static let formats: [Format?] = {
    var formats = [Format?](repeating: nil, count: 256)
    for number in 0..<LIMN_TYPES.rawValue {
      let code = limn_type(number), row = limn_format_of(code).pointee, name = String(cString: row.name)
      guard let type = TensorType(rawValue: name) else {
        preconditionFailure("\(name) is a row of formats.def, but no case of TensorType")
      }
      formats[type.place] = Format(
        code: code, layout: (Int(row.elements), Int(row.bytes)), ggml: UInt32(exactly: row.ggml))
    }
    return formats
  }()

  /// A number below 256, unique to each case: the byte that represents the case in memory.
  private var place: Int { Int(unsafeBitCast(self, to: UInt8.self)) }

  private var format: Format? { Self.formats[place] }

  /// The kernels' code for this type; nil if they have none.
  var kernelType: limn_type? { format?.code }

  /// Whether `Backend` accepts weights of this type; a loader refuses all others.
  package var isComputable: Bool { format != nil }
}
