import LimnFiles
import LimnCore
import LimnTensor

/// A tensor of a file that is going to be written, and where its values come from.
struct OutputTensor: Sendable {
  let header: TensorHeader
  /// [rows, …]
  let source: WeightSource
  /// Which row of the source each row is; nil: as they come.
  let order: [Int32]?

  /// - Parameters:
  ///   - order: rows that are left out, repeated or in another order; along a single axis: values.
  init(
    _ name: String, _ source: WeightSource, as type: TensorType, order: [Int32]? = nil
  ) throws(LimnError) {
    var shape = source.shape
    if let order { shape[0] = order.count }
    header = try TensorHeader(name: name, type: type, shape: shape)
    self.source = source
    self.order = order
  }

  /// A tensor of values that no file holds.
  init(_ name: String, values: [Float], as type: TensorType) throws(LimnError) {
    try self.init(name, .tensor(try Tensor(floats: values)), as: type)
  }

  /// The values, in an arrangement that `WeightEncoder` takes.
  func values(_ encoder: WeightEncoder) throws(LimnError) -> Tensor {
    let tensor = try source.values(encoder.cpu)
    guard order != nil, tensor.shape.count == 1 else { return tensor }
    // Values that change places are rows of one column.
    return Tensor(type: tensor.type, shape: [tensor.count, 1], memory: tensor.memory, range: tensor.range)
  }
}

/// Where a tensor's values come from.
enum WeightSource: Sendable {
  case tensor(Tensor)
  /// bitsandbytes' codes and scales, put together when they are written: one weight at a time lies in memory.
  case quantized(QuantizedWeight)
  /// What adapters add is put in when it is written.
  case updated(Tensor, [AdapterUpdate])

  func values(_ cpu: CPU) throws(LimnError) -> Tensor {
    switch self {
    case .tensor(let tensor): return tensor
    case .quantized(let weight): return try weight.packed(on: cpu)
    case .updated(var tensor, let updates):
      for update in updates { tensor = try update.merged(into: tensor, on: cpu) }
      return tensor
    }
  }

  var shape: [Int] {
    switch self {
    case .tensor(let tensor), .updated(let tensor, _): tensor.shape
    case .quantized(let weight): weight.shape
    }
  }

  /// For people.
  var typeName: String {
    switch self {
    case .tensor(let tensor), .updated(let tensor, _): tensor.type.rawValue
    case .quantized(let weight): weight.name
    }
  }

  /// Nobody reads the files' bytes again.
  func release() {
    switch self {
    case .tensor(let tensor): tensor.memory.release(tensor.range)
    case .quantized(let weight): weight.release()
    case .updated(let tensor, let updates):
      tensor.memory.release(tensor.range)
      for update in updates { update.release() }
    }
  }
}

extension Checkpoint {
  /// All tensors by canonical name.
  var sources: [String: WeightSource] {
    var sources = tensors.mapValues(WeightSource.tensor)
    for (name, weight) in quantized { sources[name] = .quantized(weight) }
    for (name, updates) in updates { sources[name] = tensors[name].map { .updated($0, updates) } }
    return sources
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
