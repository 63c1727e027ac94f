import LimnFiles
import LimnCore
import LimnTensor

/// A tensor of a file that is going to be written, and where its values come from.
struct OutputTensor: Sendable {
  let header: TensorHeader
  /// [rows, …]
  let source: Weight
  /// Which row of the source each row is; nil: as they come.
  let order: [Int32]?

  /// - Parameters:
  ///   - order: rows that are left out, repeated or in another order; along a single axis: values.
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

  /// A tensor of values that no file holds.
  init(_ name: String, values: [Float], as type: TensorType) throws(LimnError) {
    try self.init(name, Weight(try Tensor(floats: values)), as: type)
  }

  /// The values, in an arrangement that `WeightEncoder` takes.
  func values(_ encoder: WeightEncoder) throws(LimnError) -> Tensor {
    let tensor = try source.resolved(on: encoder.cpu)
    guard order != nil, tensor.shape.count == 1 else { return tensor }
    // Values that change places are rows of one column.
    return Tensor(type: tensor.type, shape: [tensor.count, 1], memory: tensor.memory, range: tensor.range)
  }
}

/// Where the rows of q and k stand, by whose values turn together.
enum HeadOrder {
  /// Halves of each head → neighbours: what GGUF's llama expects of Hugging Face's rows.
  static func neighbours(heads: Int, headSize: Int) -> [Int32] {
    let half = headSize / 2
    return (0..<heads * headSize).map { row in
      let (head, place) = (row / headSize, row % headSize)
      return Int32(head * headSize + place % 2 * half + place / 2)
    }
  }

  /// Neighbours → halves, the way back.
  static func halves(heads: Int, headSize: Int) -> [Int32] {
    let half = headSize / 2
    return (0..<heads * headSize).map { row in
      let (head, place) = (row / headSize, row % headSize)
      return Int32(head * headSize + place % half * 2 + place / half)
    }
  }

  /// The order for a tensor with a canonical name; nil where its rows stay.
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
