import LimnCore
import LimnTensor

/// What a config says of how its weights were quantised. Shapes tell most of it; this tells the rest.
struct QuantizationSettings: Sendable {
  /// "awq", "gptq", "bitsandbytes", …; nil: none is named, as in MLX's configs.
  private(set) var method: String?
  private(set) var fields = JSON.null

  /// What limn reads, and what it can be told apart by without a config.
  private static let readable: Set<String> = ["awq", "gptq", "bitsandbytes"]

  init() {}

  init(config json: JSON) {
    let parts = [json, json["text_config"] ?? .null]
    let found = parts.compactMap { $0.present("quantization_config") ?? $0.present("quantization") }.first
    guard let found else { return }
    fields = found
    method = found["quant_method"]?.string?.lowercased()
  }

  /// The settings of a module, which may differ from the others'.
  func fields(of module: String) -> JSON { fields[module]?.object == nil ? fields : fields[module]! }

  /// Refuses weights of a kind that limn does not read.
  /// - Parameter unused: tensors that have no place in the model.
  func check(_ unused: [String], _ place: String) throws(LimnError) {
    guard let method, !Self.readable.contains(method), let stray = unused.first else { return }
    throw LimnError.badData(
      "the weights are quantised by \(method), which limn does not read", in: place,
      expected: "AWQ, GPTQ, MLX, bitsandbytes, or none", found: stray,
      remedy: "take the unquantised model, or another quantisation of it")
  }
}

/// Weights quantised in groups:
///
///     MLX    X.weight   U32 [outputs, inputs · bits / 32]    X.scales, X.biases [outputs, groups]
///     AWQ    X.qweight  I32 [inputs, outputs / 8]            X.scales [groups, outputs], X.qzeros [groups, outputs / 8]
///     GPTQ   X.qweight  I32 [inputs · bits / 32, outputs]    the same with outputs · bits / 32, X.g_idx [inputs]
struct GroupedWeights {
  private static let leaves = ["scales", "biases", "qweight", "qzeros", "g_idx"]

  /// Whether a module's leaf is a part of such a weight that no other kind of weight has.
  static func isPart(_ leaf: some StringProtocol) -> Bool { leaves.contains { leaf == $0 } }

  private let settings: QuantizationSettings
  private let place: String

  /// Takes such weights out of a file's tensors.
  /// - Parameter modules: the modules' names in the file, by canonical name.
  static func take(
    from tensors: inout [String: Tensor], modules: [String: String], _ settings: QuantizationSettings, place: String
  ) throws(LimnError) -> [String: Weight] {
    let reader = GroupedWeights(settings: settings, place: place)
    var stems: Set<String> = []
    for name in tensors.keys {
      if let leaf = name.split(separator: ".").last, isPart(leaf) {
        stems.insert(String(name.dropLast(leaf.count + 1)))
      }
    }
    var weights: [String: Weight] = [:]
    for stem in stems.sorted() {
      var parts: [String: Tensor] = [:]
      for leaf in leaves { parts[leaf] = tensors.removeValue(forKey: "\(stem).\(leaf)") }
      let module = modules[stem] ?? stem
      let weight =
        if let codes = parts["qweight"] {
          try reader.transposed(codes, parts, module)
        } else if let codes = tensors.removeValue(forKey: stem + ".weight") {
          try reader.mlx(codes, parts, module)
        } else {
          throw reader.error(module, "has scales, but no codes", expected: "\(module).weight or \(module).qweight")
        }
      weights[stem + ".weight"] = Weight(.quantized(.grouped(weight)))
    }
    return weights
  }

  // MARK: MLX

  private func mlx(_ codes: Tensor, _ parts: [String: Tensor], _ module: String) throws(LimnError) -> GroupedWeight {
    let fields = settings.fields(of: module)
    guard codes.type == .u32, codes.shape.count == 2, let scales = parts["scales"], let offsets = parts["biases"],
      scales.type == offsets.type, Self.isFloat(scales.type), scales.shape.count == 2, scales.shape == offsets.shape,
      scales.shape[0] == codes.shape[0]
    else {
      let mode = fields["mode"]?.string.map { " in MLX's mode \($0)" } ?? ""
      throw error(
        module, "is quantised\(mode) in a way that limn does not read",
        expected: "codes as U32, and scales and biases for their groups",
        found: shapes(parts, ["weight": codes]))
    }
    guard let groupSize = fields["group_size"]?.int, (1...1 << 16).contains(groupSize) else {
      throw error(module, "is quantised, but config.json does not say how", expected: "quantization with group_size")
    }
    let (words, inputs) = (codes.shape[1], scales.shape[1].multipliedReportingOverflow(by: groupSize))
    guard !inputs.overflow, inputs.partialValue > 0, words < Int.max / 64, words * 32 % inputs.partialValue == 0,
      case let bits = words * 32 / inputs.partialValue, [2, 3, 4, 5, 6, 8].contains(bits),
      fields["bits"]?.int ?? bits == bits
    else {
      throw error(
        module, "is quantised in another way than config.json says",
        expected: "\(fields["bits"]?.serialised() ?? "some") bits in groups of \(groupSize)",
        found: shapes(parts, ["weight": codes]))
    }
    return GroupedWeight(
      layout: .mlx, shape: [codes.shape[0], inputs.partialValue], bits: bits, groupSize: groupSize, codes: codes,
      scales: scales, offsets: offsets)
  }

  // MARK: AWQ and GPTQ

  private func transposed(
    _ codes: Tensor, _ parts: [String: Tensor], _ module: String
  ) throws(LimnError) -> GroupedWeight {
    func wrong(_ what: String) -> LimnError {
      let version = settings.fields["version"]?.string ?? settings.fields["checkpoint_format"]?.string
      let said = [settings.method?.uppercased(), version].compactMap(\.self).joined(separator: ", ")
      return error(
        module, what + (said.isEmpty ? "" : " (\(said))"),
        expected: "qweight and qzeros as AWQ's gemm or GPTQ store them, with 4 bits (GPTQ also 2 and 8)",
        found: shapes(parts, [:]))
    }
    guard codes.type == .i32, codes.shape.count == 2, let scales = parts["scales"], Self.isFloat(scales.type),
      scales.shape.count == 2, scales.count > 0, let zeros = parts["qzeros"], zeros.type == .i32,
      zeros.shape.count == 2, zeros.shape[0] == scales.shape[0]
    else { throw wrong("is quantised in a way that limn does not read") }
    let (groups, outputs) = (scales.shape[0], scales.shape[1])
    if codes.shape[1] != outputs {
      let inputs = codes.shape[0]
      guard codes.shape[1] * 8 == outputs, zeros.shape[1] * 8 == outputs, inputs > 0, inputs % groups == 0,
        settings.fields["bits"]?.int ?? 4 == 4
      else {
        throw wrong("is quantised in a way that limn does not read")
      }
      return GroupedWeight(
        layout: .awq, shape: [outputs, inputs], bits: 4, groupSize: inputs / groups, codes: codes, scales: scales,
        offsets: zeros)
    }
    let index = parts["g_idx"]
    let groupSize = settings.fields["group_size"]?.int.flatMap { (1...1 << 24).contains($0) ? $0 : nil }
    let bitsOfZeros = zeros.shape[1] * 32 % outputs == 0 ? zeros.shape[1] * 32 / outputs : 0
    let inputs = bitsOfZeros > 0 ? codes.shape[0] * 32 / bitsOfZeros : 0
    guard [2, 4, 8].contains(bitsOfZeros), inputs > 0, settings.fields["bits"]?.int ?? bitsOfZeros == bitsOfZeros,
      index == nil ? inputs % groups == 0 : index!.type == .i32 && index!.shape == [inputs]
    else { throw wrong("is quantised in a way that limn does not read") }
    if index == nil, let groupSize, groupSize < inputs, groupSize * groups != inputs {
      throw wrong("is quantised in other groups than config.json says")
    }
    // The first version stores zero points less 1.
    let shift = settings.fields["checkpoint_format"]?.string == "gptq_v2" ? 0 : 1
    return GroupedWeight(
      layout: .gptq(zeroShift: shift), shape: [outputs, inputs], bits: bitsOfZeros, groupSize: max(1, inputs / groups),
      codes: codes, scales: scales, offsets: zeros, groups: index)
  }

  // MARK: Errors

  private static func isFloat(_ type: TensorType) -> Bool { [.f32, .f16, .bf16].contains(type) }

  private func shapes(_ parts: [String: Tensor], _ more: [String: Tensor]) -> String {
    parts.merging(more) { $1 }.sorted { $0.key < $1.key }
      .map { "\($0.key) \($0.value.type.rawValue) \($0.value.shape)" }.joined(separator: ", ")
  }

  private func error(_ module: String, _ what: String, expected: String, found: String? = nil) -> LimnError {
    .badData(
      "the weight of \(module) \(what)", in: place, expected: expected, found: found,
      remedy: "fetch the model's files again, or take another quantisation of it")
  }
}
