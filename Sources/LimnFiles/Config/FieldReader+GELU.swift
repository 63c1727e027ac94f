import LimnCore
import LimnTensor

extension FieldReader {
  /// A GELU by the name that transformers gives it.
  func gelu(_ field: String) throws(LimnError) -> GELU? {
    guard let name = try string(field) else { return nil }
    guard let gelu = GELU(huggingFaceName: name) else {
      throw wrong(field, expected: "gelu, gelu_new or quick_gelu")
    }
    return gelu
  }
}
