import LimnFiles
import LimnCore
import LimnTensor

/// Takes a model's weights out of a checkpoint by canonical name, checks every shape, and remembers what was
/// taken, so that in the end what nobody asked for can be reported.
package struct WeightReader {
  let checkpoint: Checkpoint
  /// Nil: linear layers stay as the checkpoint has them.
  private let quantization: Quantization?
  /// Puts weights together that the files keep in parts.
  private let cpu: CPU
  /// Where the weights go.
  var backend: any Backend
  /// Whether weights only have to be there and of the right shape: nothing is put together or quantised.
  private let checksOnly: Bool
  private let watch: OpeningWatch
  private(set) var taken: Set<String> = []
  /// Bytes of the files: of what was taken, and of all.
  private var bytesTaken = 0
  private let bytes: Int

  init(
    _ checkpoint: Checkpoint, quantization: Quantization?, cpu: CPU, backend: any Backend, checksOnly: Bool = false,
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

  /// What nobody asked for, by canonical name.
  var unread: [String] { checkpoint.weights.keys.filter { !taken.contains($0) }.sorted() }

  func has(_ name: String) -> Bool { checkpoint.weights[name] != nil }

  /// A tensor of just this shape.
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
    guard weight.canMerge else {
      throw .badData(
        "the adapter cannot be merged into \(name)", in: weight.updates[0].a.memory.path,
        expected: "F32, F16 or BF16", found: weight.typeName,
        remedy: "name the base model as it was before quantisation, with --base")
    }
  }

  /// A weight matrix [rows, columns].
  /// - Parameter quantizing: whether it belongs to a linear layer, which opening the model may quantise.
  mutating func matrix(
    _ name: String, rows: Int, columns: Int, quantizing: Bool = false
  ) throws(LimnError) -> Matrix {
    var tensor = try tensor(name, shape: [rows, columns])
    if quantizing, !checksOnly, let quantization, quantization.applies(to: name) {
      tensor = try quantization.quantized(tensor, name, in: checkpoint.reference, on: cpu).packed(on: cpu)
    }
    guard columns % tensor.type.layout.elements == 0 else {
      throw .badData(
        "tensor \(name) has \(columns) columns, which do not fill blocks of \(tensor.type.layout.elements)",
        in: checkpoint.reference)
    }
    return try backend.place(tensor)
  }

  /// A tensor's values in float32; zeros where weights are only checked.
  mutating func values(_ name: String, shape: [Int]) throws(LimnError) -> Vector {
    let tensor = try tensor(name, shape: shape)
    return backend.place(checksOnly ? [Float](repeating: 0, count: tensor.count) : try dequantized(tensor))
  }

  /// A norm, bias or the like, in float32.
  mutating func vector(_ name: String, count: Int) throws(LimnError) -> Vector {
    try values(name, shape: [count])
  }

  /// `prefix.weight` [outputs, inputs] and, where there is one, `prefix.bias` [outputs].
  mutating func linear(_ prefix: String, outputs: Int, inputs: Int) throws(LimnError) -> Linear {
    let weight = try matrix(prefix + ".weight", rows: outputs, columns: inputs, quantizing: true)
    let bias = has(prefix + ".bias") ? try vector(prefix + ".bias", count: outputs) : nil
    return Linear(weight: weight, bias: bias)
  }

  /// The parts of a projection whose rows are stacked, without a copy: q, k and v, or gate and up.
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
  /// What stands for a weight that nobody computes with: of its type and shape, without values.
  fileprivate init(emptyOf type: TensorType, shape: [Int]) throws(LimnError) {
    let memory = try Memory(count: 0) { _ in }
    self.init(type: type, shape: shape, memory: memory, range: 0..<0)
  }
}
