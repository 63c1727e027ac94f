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
  // GGML blocks.
  case q4_0 = "Q4_0"
  case q8_0 = "Q8_0"
  case q4_K = "Q4_K"
  case q6_K = "Q6_K"

  /// How many elements one block holds, and its size in bytes.
  package var layout: (elements: Int, bytes: Int) {
    switch self {
    case .f64, .i64, .u64: (1, 8)
    case .f32, .i32, .u32: (1, 4)
    case .f16, .bf16, .i16, .u16: (1, 2)
    case .i8, .u8, .bool: (1, 1)
    case .q4_0: (32, 18)
    case .q8_0: (32, 34)
    case .q4_K: (256, 144)
    case .q6_K: (256, 210)
    }
  }
}
