import LimnCore
import LimnTensor

extension FieldReader {
  /// A GELU by its name in transformers.
  func gelu(_ field: String) throws(LimnError) -> GELU? {
    guard let name = try string(field) else { return nil }
    guard let gelu = GELU(huggingFaceName: name) else {
      throw wrong(field, expected: "gelu, gelu_new or quick_gelu")
    }
    return gelu
  }
}
