import LimnCore
import LimnTensor

/// Weights quantised by bitsandbytes, as safetensors and PyTorch files store them:
///
///     X.weight                                       codes, two a byte (U8)
///     X.weight.absmax                                scales of blocks; codes of 8 bits where quantised twice
///     X.weight.quant_map                             16 values
///     X.weight.nested_absmax, .nested_quant_map      what the scales' codes mean
///     X.weight.quant_state.bitsandbytes__nf4|fp4     JSON: quant_type, blocksize, dtype, shape, nested_…
///
/// or, for LLM.int8, X.weight (I8), X.SCB (one scale per row) and X.weight_format.
enum Bitsandbytes {
  private static let beside = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"]
  private static let states = ["nf4", "fp4"].map { ".quant_state.bitsandbytes__" + $0 }
  private static let rowScales = ".SCB"
  private static let format = ".weight_format"
  private static let again: LimnError.Text =
    "fetch all files of the model again, or save it again with transformers' save_pretrained"

  /// The weights made from these tensors, each combined with its companions.
  /// - Parameter place: for error messages.
  static func weights(
    _ tensors: [String: Tensor], place: String
  ) throws(LimnError) -> [String: Weight] {
    var quantized = Set(tensors.keys.compactMap(weightName(beside:)))
    // Codes without their companions cannot be computed with; list them too, so that reading them fails.
    quantized.formUnion(tensors.filter { $0.hasSuffix(".weight") && ($1.type == .u8 || $1.type == .i8) }.keys)
    var weights = tensors.filter { weightName(beside: $0.key) == nil }.mapValues { Weight($0) }
    for name in quantized.sorted() { weights[name] = Weight(.quantized(try read(name, tensors, place))) }
    return weights
  }

  /// One weight, by any name that the tensors use; nil if it is not quantised.
  static func weight(
    _ name: String, among tensors: [String: Tensor], place: String
  ) throws(LimnError) -> Weight? {
    guard tensors.keys.contains(where: { weightName(beside: $0) == name }) else { return nil }
    return Weight(.quantized(try read(name, tensors, place)))
  }

  /// Whether a module's leaf, such as "weight.absmax", is something that lies beside a quantised weight.
  static func isCompanion(_ leaf: some StringProtocol) -> Bool {
    weightName(beside: "." + leaf) == ".weight"
  }

  /// Whether a tensor's name says that it lies beside a quantised weight.
  static func isCompanion(name: String) -> Bool { weightName(beside: name) != nil }

  private static func weightName(beside name: String) -> String? {
    for suffix in beside + states where name.hasSuffix(".weight" + suffix) {
      return String(name.dropLast(suffix.count))
    }
    for suffix in [rowScales, format] where name.hasSuffix(suffix) {
      return name.dropLast(suffix.count) + ".weight"
    }
    return nil
  }

  private static func read(
    _ name: String, _ tensors: [String: Tensor], _ place: String
  ) throws(LimnError) -> QuantizedWeight {
    let reader = CompanionReader(weight: name, tensors: tensors, place: place)
    let codes = try reader.tensor("", "codes")
    let stem = String(name.dropLast(".weight".count))
    let states = Self.states.filter { tensors[name + $0] != nil }
    let isInt8 = tensors[stem + rowScales] != nil || codes.type == .i8
    guard !(isInt8 && !states.isEmpty), states.count < 2 else {
      throw reader.error(
        "is quantised in two ways at once",
        found: (states + (isInt8 ? [rowScales] : [])).joined(separator: ", "))
    }
    if isInt8 { return .int8(try int8(reader, codes, tensors[stem + rowScales], tensors[stem + format])) }
    guard let state = states.first else {
      throw reader.error(
        "is quantised to 4 bits, but its quant_state is missing", expected: name + Self.states[0])
    }
    return .fourBit(try fourBit(reader, codes, state))
  }

  // MARK: LLM.int8

  private static func int8(
    _ reader: CompanionReader, _ codes: Tensor, _ scales: Tensor?, _ format: Tensor?
  ) throws(LimnError) -> Int8Weight {
    guard let scales else {
      throw reader.error("is quantised to 8 bits, but the scales of its rows (SCB) are missing")
    }
    guard codes.type == .i8, codes.shape.count == 2 else {
      throw reader.error(
        "has SCB beside it, but is no LLM.int8 matrix", expected: "I8, two axes",
        found: "\(codes.type.rawValue) \(codes.shape)")
    }
    try reader.require(scales, "SCB", count: codes.shape[0])
    // Formats 1 to 3 are byte orders that suited particular GPU generations.
    if let format, format.isHere, format.bytes.contains(where: { $0 != 0 }) {
      throw reader.error(
        "has its bytes in an order that limn does not know", expected: "weight_format 0 (row)",
        found: "\(format.bytes.first ?? 0)")
    }
    return Int8Weight(shape: codes.shape, codes: codes, scales: scales)
  }

  // MARK: 4 bits

  private static func fourBit(
    _ reader: CompanionReader, _ codes: Tensor, _ stateSuffix: String
  ) throws(LimnError) -> FourBitWeight {
    let stateTensor = try reader.tensor(stateSuffix, "quantisation state")
    try stateTensor.requireValues()
    let state = try JSON.parse(
      stateTensor.bytes, place: "\(reader.place), tensor \(reader.weight)\(stateSuffix)", duplicates: .reject,
      lenient: false)
    guard let code = state["quant_type"]?.string.flatMap(FourBitWeight.Code.init),
      stateSuffix.hasSuffix(code.rawValue)
    else {
      throw reader.error(
        "has a state of another code", expected: String(stateSuffix.suffix(3)),
        found: state["quant_type"]?.serialised() ?? "none")
    }
    let types: [String: TensorType] = ["float32": .f32, "float16": .f16, "bfloat16": .bf16]
    guard let type = state["dtype"]?.string.flatMap({ types[$0] }) else {
      throw reader.error(
        "has a state with another dtype", expected: "float32, float16 or bfloat16",
        found: state["dtype"]?.serialised() ?? "none")
    }
    let shape = (state["shape"]?.array ?? []).compactMap(\.int)
    guard let blockSize = state["blocksize"]?.int, (1...1 << 20).contains(blockSize),
      !shape.isEmpty, shape.count == state["shape"]?.array?.count, shape.allSatisfy({ $0 >= 0 }),
      let count = elementCount(of: shape), count < Int.max / 8
    else {
      throw reader.error(
        "has a state with an impossible shape or blocksize",
        found: "\(state["shape"]?.serialised() ?? "none"), \(state["blocksize"]?.serialised() ?? "none")")
    }
    guard codes.range.count == (count + 1) / 2 else {
      throw reader.error(
        "and the shape in its state disagree", expected: "\((count + 1) / 2) bytes for \(shape)",
        found: "\(codes.range.count)")
    }
    let blocks = (count + blockSize - 1) / blockSize
    let map = try reader.optional(".quant_map").map { tensor throws(LimnError) in
      try reader.floats(tensor, "quant_map", count: 16)
    }
    return FourBitWeight(
      shape: shape, code: code, map: map ?? code.map, type: type, blockSize: blockSize, codes: codes,
      scales: try scales(reader, state, blocks: blocks))
  }

  private static func scales(
    _ reader: CompanionReader, _ state: JSON, blocks: Int
  ) throws(LimnError) -> FourBitWeight.Scales {
    let absmax = try reader.tensor(".absmax", "scales")
    guard absmax.type == .u8 else {
      guard reader.optional(".nested_absmax") == nil else {
        throw reader.error(
          "has nested scales, but absmax is not quantised", expected: "U8", found: absmax.type.rawValue)
      }
      try reader.require(absmax, "absmax", count: blocks)
      return .plain(absmax)
    }
    guard absmax.count == blocks else {
      throw reader.error("has a wrong number of scales", expected: "\(blocks)", found: "\(absmax.count)")
    }
    guard let blockSize = state["nested_blocksize"]?.int, (1...1 << 20).contains(blockSize),
      let offset = state["nested_offset"]?.double, Float(offset).isFinite
    else { throw reader.error("has quantised scales, but its state lacks nested_blocksize or nested_offset") }
    return .nested(
      codes: absmax,
      map: try reader.floats(
        try reader.tensor(".nested_quant_map", "map of the scales"), "nested_quant_map", count: 256),
      absmax: try reader.floats(
        try reader.tensor(".nested_absmax", "scales of the scales"), "nested_absmax",
        count: (blocks + blockSize - 1) / blockSize),
      blockSize: blockSize, offset: Float(offset))
  }

  /// Reads the companions of one weight.
  private struct CompanionReader {
    let weight: String
    let tensors: [String: Tensor]
    let place: String

    func optional(_ suffix: String) -> Tensor? { tensors[weight + suffix] }

    func tensor(_ suffix: String, _ what: String) throws(LimnError) -> Tensor {
      if let tensor = optional(suffix) { return tensor }
      throw error("is quantised by bitsandbytes, but its \(what) (\(weight + suffix)) are missing")
    }

    /// A short tensor, as float32.
    func floats(_ tensor: Tensor, _ what: String, count: Int) throws(LimnError) -> [Float] {
      try require(tensor, what, count: count)
      return try dequantized(tensor)
    }

    func require(_ tensor: Tensor, _ what: String, count: Int) throws(LimnError) {
      guard tensor.count == count, [.f32, .f16, .bf16].contains(tensor.type) else {
        throw error(
          "has a wrong \(what)", expected: "\(count) floats",
          found: "\(tensor.count) of type \(tensor.type.rawValue)")
      }
    }

    func error(_ what: String, expected: String? = nil, found: String? = nil) -> LimnError {
      .badData("the tensor \(weight) \(what)", in: place, expected: expected, found: found, remedy: again)
    }
  }
}
