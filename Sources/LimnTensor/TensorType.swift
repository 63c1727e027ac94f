/// The element types that weight files hold, quantised blocks among them.
///
/// One table, `layout`, says how many elements share a block and how many bytes that block takes; everything
/// that measures tensors goes through it. A new type is a case, a row there, and a dequantiser.
package enum TensorType: String, Sendable, CaseIterable {
  // Plain numbers. The raw value is the name that people see, spelt as the file formats spell it.
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
  // Numbers that safetensors can hold and limn lists, but does not compute with.
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
  // bitsandbytes' weights once codes and scales are put together; no file has these blocks. A 4-bit type is rounded to
  // the type of its checkpoint.
  case nf4 = "NF4"
  case nf4_F16 = "NF4_F16"
  case nf4_BF16 = "NF4_BF16"
  case fp4 = "FP4"
  case fp4_F16 = "FP4_F16"
  case fp4_BF16 = "FP4_BF16"
  case llmInt8 = "LLM.int8"

  /// How many elements one block holds, and its size in bytes.
  package var layout: (elements: Int, bytes: Int) {
    switch self {
    case .f64, .i64, .u64, .c64: (1, 8)
    case .f32, .i32, .u32: (1, 4)
    case .f16, .bf16, .i16, .u16: (1, 2)
    case .i8, .u8, .bool, .f8_E4M3, .f8_E5M2, .f8_E8M0, .f8_E4M3FNUZ, .f8_E5M2FNUZ: (1, 1)
    case .f6_E2M3, .f6_E3M2: (4, 3)
    case .f4: (2, 1)
    case .q1_0: (128, 18)
    case .q2_0: (64, 18)
    case .q4_0: (32, 18)
    case .q4_1: (32, 20)
    case .q5_0: (32, 22)
    case .q5_1: (32, 24)
    case .q8_0: (32, 34)
    case .q8_1: (32, 36)
    case .q2_K: (256, 84)
    case .q3_K: (256, 110)
    case .q4_K: (256, 144)
    case .q5_K: (256, 176)
    case .q6_K: (256, 210)
    case .q8_K: (256, 292)
    case .iq1_S: (256, 50)
    case .iq1_M: (256, 56)
    case .iq2_XXS: (256, 66)
    case .iq2_XS: (256, 74)
    case .iq2_S: (256, 82)
    case .iq3_XXS: (256, 98)
    case .iq3_S: (256, 110)
    case .iq4_NL: (32, 18)
    case .iq4_XS: (256, 136)
    case .tq1_0: (256, 54)
    case .tq2_0: (256, 66)
    case .mxfp4: (32, 17)
    case .nvfp4: (64, 36)
    case .nf4, .nf4_F16, .nf4_BF16, .fp4, .fp4_F16, .fp4_BF16: (64, 36)
    case .llmInt8: (64, 68)
    }
  }

  /// The bytes that `elements` take; nil where they do not fill whole blocks or the number overflows.
  package func byteCount(elements: Int) -> Int? {
    guard elements >= 0, elements % layout.elements == 0 else { return nil }
    let (bytes, overflow) = (elements / layout.elements).multipliedReportingOverflow(by: layout.bytes)
    return overflow ? nil : bytes
  }
}
