import LimnFiles
import LimnCore
import LimnTensor

/// A tensor to write to a file, and the source of its values.
struct OutputTensor: Sendable {
  let header: TensorHeader
  /// [rows, …]
  let source: Weight
  /// The source row for each row; nil: unchanged.
  let order: [Int32]?

  /// - Parameters:
  ///   - order: selects, repeats or reorders rows; for a tensor with one axis, values.
  init(
    _ name: String, _ source: Weight, as type: TensorType, order: [Int32]? = nil
  ) throws(LimnError) {
    guard source.canMerge else {
      throw .badData(
        "the adapter cannot be merged into \(name)", in: source.updates[0].a.memory.path,
        expected: "F32, F16 or BF16", found: source.typeName,
        remedy: "name the base model as it was before quantisation, with \(.base)")
    }
    var shape = source.shape
    if let order { shape[0] = order.count }
    header = try TensorHeader(name: name, type: type, shape: shape)
    self.source = source
    self.order = order
  }

  /// A tensor whose values come from no file.
  init(_ name: String, values: [Float], as type: TensorType) throws(LimnError) {
    try self.init(name, Weight(try Tensor(floats: values)), as: type)
  }

  /// The values, in a shape that `WeightEncoder` takes.
  func values(_ encoder: WeightEncoder) throws(LimnError) -> Tensor {
    let tensor = try source.resolved(on: encoder.cpu)
    guard order != nil, tensor.shape.count == 1 else { return tensor }
    // To reorder single values, treat them as rows of one column.
    return Tensor(type: tensor.type, shape: [tensor.count, 1], memory: tensor.memory, range: tensor.range)
  }
}

/// The order of the rows of q and k, which depends on which values RoPE rotates together.
enum HeadOrder {
  /// Halves of each head → neighbours: from Hugging Face's order to the one that GGUF's llama expects.
  static func neighbours(heads: Int, headSize: Int) -> [Int32] {
    let half = headSize / 2
    return (0..<heads * headSize).map { row in
      let (head, place) = (row / headSize, row % headSize)
      return Int32(head * headSize + place % 2 * half + place / 2)
    }
  }

  /// Neighbours → halves: the reverse.
  static func halves(heads: Int, headSize: Int) -> [Int32] {
    let half = headSize / 2
    return (0..<heads * headSize).map { row in
      let (head, place) = (row / headSize, row % headSize)
      return Int32(head * headSize + place % half * 2 + place / half)
    }
  }

  /// The order for the tensor with this canonical name; nil if its rows stay where they are.
  static func order(
    of canonical: String, _ language: LanguageConfig, _ change: (Int, Int) -> [Int32]
  ) -> [Int32]? {
    let parts = canonical.split(separator: ".")
    guard parts.count > 2, language.rotaryDimensions == language.headSize else { return nil }
    switch parts[parts.count - 2] {
    case "q_proj" where parts[0] == "language_model": return change(language.heads, language.headSize)
    case "k_proj" where parts[0] == "language_model": return change(language.kvHeads, language.headSize)
    default: return nil
    }
  }
}
