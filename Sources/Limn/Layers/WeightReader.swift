import LimnFiles
import LimnCore
import LimnTensor

/// Takes a model's weights out of a checkpoint by canonical name, checks every shape, and records what was taken, so
/// that weights which no layer asked for can be reported in the end.
package struct WeightReader {
  let checkpoint: Checkpoint
  /// Nil: linear layers keep the checkpoint's types.
  private let quantization: LoadQuantization?
  /// Combines weights that the files hold in parts.
  private let cpu: CPU
  /// Where the weights are placed.
  var backend: any Backend
  /// Whether to check only that weights exist and have the right shape, without combining or quantising any.
  private let checksOnly: Bool
  private let watch: OpeningWatch
  private(set) var taken: Set<String> = []
  /// Weights of linear layers, to which adapters may be added.
  private var adapted: Set<String> = []
  /// Bytes in the files: those taken so far, and all.
  private var bytesTaken = 0
  private let bytes: Int

  init(
    _ checkpoint: Checkpoint, quantization: LoadQuantization?, cpu: CPU, backend: any Backend, checksOnly: Bool = false,
    watch: OpeningWatch
  ) {
    self.backend = backend
    self.checkpoint = checkpoint
    self.quantization = quantization
    self.cpu = cpu
    self.checksOnly = checksOnly
    self.watch = watch
    bytes = checkpoint.weights.values.reduce(0) { $0 + $1.byteCount }
  }

  /// The weights that were never taken, by canonical name.
  var unread: [String] { checkpoint.weights.keys.filter { !taken.contains($0) }.sorted() }

  func has(_ name: String) -> Bool { checkpoint.weights[name] != nil }

  /// The size of a weight's first axis; nil if there is no such weight.
  func rows(of name: String) -> Int? { checkpoint.weights[name]?.shape.first }

  /// A tensor that must have exactly this shape.
  mutating func tensor(_ name: String, shape: [Int]) throws(LimnError) -> Tensor {
    try watch.reached(bytes > 0 ? min(1, Double(bytesTaken) / Double(bytes)) : 0, of: .weights)
    let weight = try checkpoint.weight(named: name)
    guard weight.shape == shape else {
      throw .badData(
        "tensor \(name) has another shape", in: checkpoint.reference, expected: "\(shape)", found: "\(weight.shape)",
        remedy: "the config and the weights are of different models; fetch both again")
    }
    try refuse(weight, name)
    if taken.insert(name).inserted { bytesTaken += weight.byteCount }
    return checksOnly ? try Tensor(emptyOf: weight.type, shape: shape) : try weight.resolved(on: cpu)
  }

  /// Refuses a weight that limn cannot compute with.
  private func refuse(_ weight: Weight, _ name: String) throws(LimnError) {
    guard weight.type.isComputable else {
      throw .badData(
        "tensor \(name) is of type \(weight.typeName), which limn cannot compute with", in: checkpoint.reference)
    }
    if let scale = weight.scaleName {
      throw .badData(
        "tensor \(name) is of type \(weight.typeName) with scales apart, which limn cannot compute with",
        in: checkpoint.reference, found: scale, remedy: "take another quantisation of the model")
    }
  }

  /// A weight matrix [rows, columns].
  /// - Parameter quantizing: whether it belongs to a linear layer and so may be quantised on opening.
  mutating func matrix(
    _ name: String, rows: Int, columns: Int, quantizing: Bool = false
  ) throws(LimnError) -> Matrix {
    var tensor = try tensor(name, shape: [rows, columns])
    if quantizing, !checksOnly, let quantization, quantization.applies(to: name) {
      let weight = try checkpoint.weight(named: name)
      tensor = try quantization.quantized(tensor, of: weight, name, in: checkpoint.reference, on: cpu).packed(on: cpu)
    }
    guard columns % tensor.type.layout.elements == 0 else {
      throw .badData(
        "tensor \(name) has \(columns) columns, which do not fill blocks of \(tensor.type.layout.elements)",
        in: checkpoint.reference)
    }
    return try backend.place(tensor)
  }

  /// A tensor's values in float32; zeros if weights are only checked.
  mutating func values(_ name: String, shape: [Int]) throws(LimnError) -> Vector {
    let tensor = try tensor(name, shape: shape)
    return backend.place(checksOnly ? [Float](repeating: 0, count: tensor.count) : try dequantized(tensor))
  }

  /// A norm, bias or similar, in float32.
  mutating func vector(_ name: String, count: Int) throws(LimnError) -> Vector {
    try values(name, shape: [count])
  }

  /// `prefix.weight` [outputs, inputs] and, if it exists, `prefix.bias` [outputs].
  /// - Parameter weight: a matrix that stands for `prefix.weight`; nil: the checkpoint's.
  mutating func linear(
    _ prefix: String, outputs: Int, inputs: Int, weight: Matrix? = nil
  ) throws(LimnError) -> Linear {
    let own = weight == nil ? try matrix(prefix + ".weight", rows: outputs, columns: inputs, quantizing: true) : nil
    let weight = weight ?? own!
    let bias = has(prefix + ".bias") ? try vector(prefix + ".bias", count: outputs) : nil
    return Linear(weight: weight, bias: bias, adapters: try adapters(prefix + ".weight"))
  }

  /// Refuses adapters for weights that do not belong to a linear layer, such as an embedding table or a norm.
  func requireAdaptersUsed() throws(LimnError) {
    for (name, weight) in checkpoint.weights.sorted(by: { $0.key < $1.key }) {
      guard !checksOnly, !weight.canMerge || !weight.adapters.isEmpty, !adapted.contains(name) else { continue }
      throw .badData(
        "the adapter changes \(name), which is no linear layer of this model", in: checkpoint.reference,
        remedy: "name the base model as it was before quantisation, with \(.base)")
    }
  }

  /// What adapters add to a linear layer, unmerged: the checkpoint's own adapters if its weight is quantised and cannot
  /// absorb them, and adapters that only some sequences use.
  private mutating func adapters(_ name: String) throws(LimnError) -> [LowRank] {
    adapted.insert(name)
    guard !checksOnly, let weight = checkpoint.weights[name] else { return [] }
    var result: [LowRank] = []
    if !weight.canMerge {
      for update in weight.updates { result.append(try lowRank(update, nil, of: weight, name)) }
    }
    for (index, update) in weight.adapters.sorted(by: { $0.key < $1.key }) {
      result.append(try lowRank(update, index, of: weight, name))
    }
    return result
  }

  private func lowRank(
    _ update: LowRankUpdate, _ adapter: Int?, of weight: Weight, _ name: String
  ) throws(LimnError) -> LowRank {
    guard !update.isTransposed else {
      throw .badData(
        "the adapter changes \(name) in a way that cannot stay unmerged", in: update.a.memory.path,
        expected: "linear layers [outputs, inputs]",
        remedy: "name the base model as it was before quantisation, with \(.base)")
    }
    let (rank, outputs) = (update.rank, weight.shape[0])
    let b = try dequantized(update.b)
    let order = rowOrder(of: weight, name)
    var scaled = [Float](repeating: 0, count: b.count)
    for row in 0..<outputs {
      let source = order?(row) ?? row
      for column in 0..<rank { scaled[row * rank + column] = b[source * rank + column] * update.scale }
    }
    let a = try Tensor(floats: try dequantized(update.a), shape: update.a.shape)
    return LowRank(
      adapter: adapter, a: Linear(weight: try backend.place(a)),
      b: Linear(weight: try backend.place(try Tensor(floats: scaled, shape: [outputs, rank]))))
  }

  /// Which row of an adapter's B belongs to a row of the weight; nil: the row of the same index. Adapters use Hugging
  /// Face's row order. A checkpoint's rows may be regrouped, and GGUF's llama interleaves the two halves of each head
  /// of q and k.
  private func rowOrder(of weight: Weight, _ name: String) -> ((Int) -> Int)? {
    if let rows = weight.rows { return { Int(rows[$0]) } }
    let config = checkpoint.config.language
    guard config.ropeAdjacent, name.hasSuffix("self_attn.q_proj.weight") || name.hasSuffix("self_attn.k_proj.weight"),
      name.hasPrefix("language_model.")
    else { return nil }
    let size = config.headSize
    return { row in row / size * size + row % size % 2 * (size / 2) + row % size / 2 }
  }

  /// Splits a projection with stacked rows into its parts, without a copy: q, k and v, or gate and up.
  mutating func stacked(_ prefix: String, outputs: [Int], inputs: Int) throws(LimnError) -> [Linear] {
    let whole = try linear(prefix, outputs: outputs.reduce(0, +), inputs: inputs)
    var first = 0
    return outputs.map { count in
      defer { first += count }
      return whole.outputs(first..<first + count)
    }
  }

  mutating func rmsNorm(_ prefix: String, width: Int, epsilon: Double) throws(LimnError) -> RMSNorm {
    RMSNorm(weight: try vector(prefix + ".weight", count: width), epsilon: Float(epsilon))
  }

  mutating func layerNorm(_ prefix: String, width: Int, epsilon: Double) throws(LimnError) -> LayerNorm {
    LayerNorm(
      weight: try vector(prefix + ".weight", count: width), bias: try vector(prefix + ".bias", count: width),
      epsilon: Float(epsilon))
  }
}

extension Tensor {
  /// A placeholder for a weight that is never computed with: type and shape without values.
  fileprivate init(emptyOf type: TensorType, shape: [Int]) throws(LimnError) {
    let memory = try Memory(count: 0) { _ in }
    self.init(type: type, shape: shape, memory: memory, range: 0..<0)
  }
}
