import LimnCore
import LimnTensor

extension LanguageConfig {
  /// Reads the metadata of a GGUF language model (keys of the GGUF specification) and the shapes of its tensors.
  init(_ file: GGUF) throws(LimnError) {
    let name = file.architecture ?? "none"
    let architectures: [String: Architecture] = ["llama": .llama, "phi2": .phi2, "phi3": .phi3]
    guard let architecture = architectures[name] else {
      throw LimnError.badData(
        "limn does not run this GGUF's architecture", in: file.path,
        expected: architectures.keys.sorted().joined(separator: ", "), found: name)
    }
    let keys = GGUFKeys(file: file, prefix: name)
    let hidden = try keys.required("embedding_length")
    let heads = try keys.required("attention.head_count")
    guard heads > 0, hidden > 0 else {
      throw LimnError.badData("\(name).attention.head_count makes no sense", in: file.path, found: "\(heads)")
    }
    let headSize = try keys.int("attention.key_length") ?? hidden / heads
    guard try keys.int("attention.value_length") ?? headSize == headSize else {
      throw LimnError.badData("keys and values of different sizes", in: file.path)
    }
    guard let embeddings = file.tensor("token_embd.weight"), embeddings.shape.count == 2 else {
      throw LimnError.badData(
        "the GGUF file has no token_embd.weight", in: file.path,
        remedy: "a vocabulary-only file can be asked about its tokens, not run")
    }
    let epsilonKey =
      architecture == .phi2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"
    self.init(
      architecture: architecture, hidden: hidden, ffn: try keys.required("feed_forward_length"),
      layers: try keys.required("block_count"), heads: heads,
      kvHeads: try keys.int("attention.head_count_kv") ?? heads, headSize: headSize,
      vocabulary: embeddings.shape[0], maxPositions: try keys.required("context_length"),
      epsilon: try keys.double(epsilonKey) ?? 1e-5, ropeTheta: try keys.double("rope.freq_base") ?? 10000,
      rotaryDimensions: try keys.int("rope.dimension_count") ?? headSize,
      // The llama converter permutes the rows of q and k, so that neighbouring values rotate together.
      ropeAdjacent: architecture == .llama, tiedEmbeddings: file.tensor("output.weight") == nil,
      activation: architecture == .phi2 ? .gelu(.tanh) : .silu)
    ropeScaling = try Self.ropeScaling(keys, rotated: rotaryDimensions, maxPositions: maxPositions)
    // A window makes it a Mistral; llama.cpp ignores the key under this architecture. Phi-3's is ignored, as there.
    if architecture == .llama, let window = try keys.int("attention.sliding_window"), window > 0 {
      (self.architecture, slidingWindow) = (.mistral, window)
    }
    try check(file.path)
  }

  private static func ropeScaling(
    _ keys: GGUFKeys, rotated: Int, maxPositions: Int
  ) throws(LimnError) -> RoPEScaling {
    // The converters of Llama 3.1, and of Phi-3 for long contexts, store the frequencies' divisors as tensors.
    func factors(_ name: String) throws(LimnError) -> [Double]? {
      guard let tensor = keys.file.tensor(name) else { return nil }
      guard tensor.type == .f32, tensor.shape == [rotated / 2] else {
        throw LimnError.badData("\(name) is wrong", in: keys.file.path, expected: "F32 [\(rotated / 2)]")
      }
      // The file's data may be absent if only its header was read; nothing computes with such a config.
      guard tensor.isHere else { return Array(repeating: 1, count: tensor.count) }
      return (0..<tensor.count).map {
        Double(tensor.bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self))
      }
    }
    if let divisors = try factors("rope_freqs.weight") {
      return .longrope(short: divisors, long: divisors, original: .max, amplitude: 1)
    }
    if let short = try factors("rope_factors_short.weight"),
      let long = try factors("rope_factors_long.weight")
    {
      return .longrope(
        short: short, long: long,
        original: try keys.int("rope.scaling.original_context_length") ?? maxPositions,
        amplitude: try keys.double("rope.scaling.attn_factor") ?? 1)
    }
    let type = keys.string("rope.scaling.type") ?? "linear"
    let olderFactor = try keys.double("rope.scale_linear")
    let factor = try keys.double("rope.scaling.factor") ?? olderFactor ?? 1
    guard factor != 1, factor != 0, type != "none" else { return .none }
    guard type == "linear" || type == "dynamic", factor.isFinite, factor > 0 else {
      throw LimnError.badData(
        "the scaling of RoPE is none that limn knows", in: keys.file.path, expected: "linear or dynamic", found: type)
    }
    return type == "linear" ? .linear(factor) : .dynamic(factor)
  }
}

extension VisionConfig {
  /// Reads the metadata of a projector file (`clip.…`); counts the blocks that its tensors make up.
  init(projector file: GGUF) throws(LimnError) {
    let keys = GGUFKeys(file: file, prefix: "clip")
    guard keys.bool("has_vision_encoder") ?? true, !(keys.bool("use_silu") ?? false) else {
      throw LimnError.badData("the file holds no vision tower that limn runs", in: file.path)
    }
    let blocks = file.tensors.compactMap { tensor -> Int? in
      let parts = tensor.name.split(separator: ".")
      return parts.count > 2 && parts[0] == "v" && parts[1] == "blk" ? Int(parts[2]) : nil
    }
    // Only CLIP has a class token.
    let family = file.tensor("v.class_embd") == nil ? Family.siglip : .clip
    let usesGELU = keys.bool("use_gelu") ?? false
    let usual = usesGELU ? GGUFProjector.usualGELU(family) : .quick
    self.init(
      family: family, hidden: try keys.required("vision.embedding_length"),
      ffn: try keys.required("vision.feed_forward_length"),
      layers: Set(blocks).count, heads: try keys.required("vision.attention.head_count"),
      imageSize: try keys.required("vision.image_size"), patchSize: try keys.required("vision.patch_size"),
      activation: try keys.gelu(GGUFProjector.visionActivation) ?? usual,
      epsilon: try keys.double("vision.attention.layer_norm_epsilon") ?? 1e-5)
    try check(file.path)
  }
}

extension ProjectorConfig {
  /// Reads the metadata of a projector file. The earliest files do not name their projector type, which is an MLP.
  init(projector file: GGUF) throws(LimnError) {
    let keys = GGUFKeys(file: file, prefix: "clip")
    let type = keys.string("projector_type") ?? keys.string("vision.projector_type") ?? "mlp"
    let known = [GGUFProjector.plainType, GGUFProjector.normedType, GGUFProjector.ownType]
    guard known.contains(type) else {
      throw LimnError.badData(
        "a projector that limn does not run", in: file.path, expected: known.joined(separator: ", "), found: type)
    }
    // Converters call Yi-VL's projector "mlp" too; its two extra tensors give it away.
    let hasNorms = type == GGUFProjector.normedType || file.tensor("mm.4.weight") != nil
    let own = try keys.double(GGUFProjector.layerNorms)
    let tower = try keys.double("vision.attention.layer_norm_epsilon")
    self.init(
      activation: try keys.gelu(GGUFProjector.activation) ?? .erf,
      inputNorm: try keys.double(GGUFProjector.inputNorm), layerNorms: hasNorms ? own ?? tower ?? 1e-5 : nil)
  }
}

extension ModelConfig {
  /// From a GGUF language model and its projector file.
  init(_ pair: GGUFPair) throws(LimnError) {
    language = try LanguageConfig(pair.language)
    guard let file = pair.projector else { return }
    let vision = try VisionConfig(projector: file)
    self.vision = vision
    projector = try ProjectorConfig(projector: file)
    let keys = GGUFKeys(file: file, prefix: "clip")
    keepsClassToken = keys.bool(GGUFProjector.keepsFirstFeature) ?? !vision.hasClassToken
    aspectPolicy = keys.string("vision.image_aspect_ratio")
    // Converters drop the last block, because nothing reads it. So run every block in the file, unless it has all 24
    // of a complete CLIP-L. For other sizes, only a complete tower keeps its last norm too.
    let keepsLastNorm = file.tensor("v.post_ln.weight") != nil
    let isComplete = vision.layers == 24 || (vision.layers != 23 && keepsLastNorm)
    featureLayers = try keys.ints("vision.feature_layer") ?? [isComplete ? -2 : -1]
    if file.tensor("model.image_newline") != nil || file.tensor("v.image_newline") != nil {
      family = .llavaNext
      let points = try keys.ints("vision.image_grid_pinpoints") ?? []
      guard !points.isEmpty, points.count % 2 == 0, points.count <= 2048,
        points.allSatisfy({ (1...1 << 14).contains($0) })
      else {
        throw LimnError.badData(
          "clip.vision.image_grid_pinpoints is wrong", in: file.path, expected: "pairs of sizes")
      }
      // Width comes before height, as in the original config that the converter copies.
      gridPinpoints = stride(from: 0, to: points.count, by: 2).map { (points[$0 + 1], points[$0]) }
    }
  }
}

extension GGUF {
  func tensor(_ name: String) -> Tensor? { tensors.first { $0.name == name }?.tensor }
}

/// Typed access to metadata under a prefix.
struct GGUFKeys {
  let file: GGUF
  let prefix: String

  private func value(_ key: String) -> GGUFValue? { file["\(prefix).\(key)"] }

  func int(_ key: String) throws(LimnError) -> Int? {
    guard let value = value(key) else { return nil }
    if let number = value.int { return number }
    // Some converters write one number for each layer.
    if let numbers = value.ints, let first = numbers.first, numbers.allSatisfy({ $0 == first }) {
      return first
    }
    throw wrong(key, expected: "a whole number")
  }

  func required(_ key: String) throws(LimnError) -> Int {
    guard let number = try int(key) else {
      throw LimnError.badData("the metadata lacks \(prefix).\(key)", in: file.path)
    }
    return number
  }

  func double(_ key: String) throws(LimnError) -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.double else { throw wrong(key, expected: "a number") }
    return number
  }

  /// One integer or several.
  func ints(_ key: String) throws(LimnError) -> [Int]? {
    guard let value = value(key) else { return nil }
    guard let numbers = value.ints ?? value.int.map({ [$0] }) else {
      throw wrong(key, expected: "whole numbers")
    }
    return numbers
  }

  /// A GELU by the name that transformers gives it.
  func gelu(_ key: String) throws(LimnError) -> GELU? {
    guard let name = string(key) else { return nil }
    if let gelu = GELU(huggingFaceName: name) { return gelu }
    throw LimnError.badData(
      "\(prefix).\(key) is no GELU that limn knows", in: file.path,
      expected: "gelu, gelu_new or quick_gelu", found: name)
  }

  func string(_ key: String) -> String? { value(key)?.string }
  func bool(_ key: String) -> Bool? { value(key)?.bool }

  private func wrong(_ key: String, expected: String) -> LimnError {
    .badData("\(prefix).\(key) has another type", in: file.path, expected: expected)
  }
}
