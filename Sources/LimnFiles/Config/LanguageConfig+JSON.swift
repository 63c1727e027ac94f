import LimnTensor
import Foundation
import LimnCore

extension LanguageConfig.Architecture {
  /// Reads `model_type`.
  init?(modelType: String) {
    switch modelType {
    case "llama": self = .llama
    case "mistral": self = .mistral
    case "phi3": self = .phi3
    case "phi", "phi-msft": self = .phi2
    default: return nil
    }
  }

  /// Defaults of transformers' configuration classes. Published files leave out any key that equals its default.
  var defaults: LanguageConfig {
    switch self {
    case .llama:
      LanguageConfig(
        architecture: self, hidden: 4096, ffn: 11008, layers: 32, heads: 32, kvHeads: 32, headSize: 128,
        vocabulary: 32000, maxPositions: 2048, epsilon: 1e-6, ropeTheta: 10000, rotaryDimensions: 128)
    case .mistral:
      LanguageConfig(
        architecture: self, hidden: 4096, ffn: 14336, layers: 32, heads: 32, kvHeads: 8, headSize: 128,
        vocabulary: 32000, maxPositions: 131072, epsilon: 1e-6, ropeTheta: 10000, rotaryDimensions: 128,
        slidingWindow: 4096)
    case .phi3:
      LanguageConfig(
        architecture: self, hidden: 3072, ffn: 8192, layers: 32, heads: 32, kvHeads: 32, headSize: 96,
        vocabulary: 32064, maxPositions: 4096, epsilon: 1e-5, ropeTheta: 10000, rotaryDimensions: 96)
    case .phi2:
      LanguageConfig(
        architecture: self, hidden: 2048, ffn: 8192, layers: 24, heads: 32, kvHeads: 32, headSize: 64,
        vocabulary: 51200, maxPositions: 2048, epsilon: 1e-5, ropeTheta: 10000, rotaryDimensions: 32,
        activation: .gelu(.tanh))
    }
  }
}

extension LanguageConfig {
  /// Reads the JSON of a transformers configuration.
  init(_ fields: FieldReader, _ architecture: Architecture) throws(LimnError) {
    self = architecture.defaults
    hidden = try fields.int("hidden_size") ?? hidden
    ffn = try fields.int("intermediate_size") ?? ffn
    layers = try fields.int("num_hidden_layers") ?? layers
    heads = try fields.int("num_attention_heads") ?? heads
    // Mistral defaults to 8 heads if the key is absent; the others, and Mistral for null, to as many as queries have.
    let hasOwnDefault = architecture == .mistral && !fields.isNull("num_key_value_heads")
    kvHeads = try fields.int("num_key_value_heads") ?? (hasOwnDefault ? kvHeads : heads)
    if let size = try fields.int("head_dim"), architecture == .llama || architecture == .mistral {
      headSize = size
    } else {
      guard heads > 0, hidden % heads == 0 else {
        throw fields.wrong("num_attention_heads", expected: "a divisor of the hidden size \(hidden)")
      }
      headSize = hidden / heads
    }
    vocabulary = try fields.int("vocab_size") ?? vocabulary
    maxPositions = try fields.int("max_position_embeddings") ?? maxPositions
    epsilon = try fields.double(architecture == .phi2 ? "layer_norm_eps" : "rms_norm_eps") ?? epsilon
    tiedEmbeddings = try fields.bool("tie_word_embeddings") ?? false
    // Llama and Phi-2 have no sliding window, whatever leftover keys their configs contain.
    if architecture == .mistral || architecture == .phi3 {
      slidingWindow =
        try fields.int("sliding_window") ?? (fields.isNull("sliding_window") ? nil : slidingWindow)
    }
    try readActivation(fields)
    if try fields.bool("qk_layernorm") == true {
      throw fields.wrong("qk_layernorm", expected: "false: limn does not run this variant of Phi")
    }
    try readRoPE(fields)
    try check(fields.place)
  }

  private mutating func readActivation(_ fields: FieldReader) throws(LimnError) {
    guard let name = try fields.string("hidden_act") else { return }
    if architecture == .phi2 {
      activation = try fields.gelu("hidden_act").map(Activation.gelu) ?? activation
    } else if name != "silu" && name != "swish" {
      throw fields.wrong("hidden_act", expected: "silu")
    }
  }

  /// Reads `rope_parameters` (transformers 5), or `rope_theta` with `rope_scaling` and `partial_rotary_factor`.
  private mutating func readRoPE(_ fields: FieldReader) throws(LimnError) {
    let scaling = try fields.object("rope_scaling").flatMap { $0.json.object?.count == 0 ? nil : $0 }
    let parameters = try fields.object("rope_parameters")
    let rope = scaling ?? parameters ?? FieldReader(json: .object([:]), place: fields.place)
    let theta = try fields.double("rope_theta")
    ropeTheta = try rope.double("rope_theta") ?? theta ?? ropeTheta
    var partial = 1.0
    if architecture == .phi2 || architecture == .phi3 {
      let outside = try fields.double("partial_rotary_factor")
      partial = try rope.double("partial_rotary_factor") ?? outside ?? (architecture == .phi2 ? 0.5 : 1)
    }
    guard partial > 0, partial <= 1 else {
      throw fields.wrong("partial_rotary_factor", expected: "more than 0, at most 1")
    }
    guard headSize <= 1 << 20 else { throw fields.wrong("head_dim", expected: "at most 1048576") }
    rotaryDimensions = Int(Double(headSize) * partial)
    let olderType = try rope.string("type")
    var type = try rope.string("rope_type") ?? olderType ?? "default"
    // The name in older Phi-3 files.
    if type == "su" || type == "yarn" && architecture == .phi3 { type = "longrope" }
    switch type {
    case "default": ropeScaling = .none
    case "linear": ropeScaling = .linear(try factor(rope))
    case "dynamic": ropeScaling = .dynamic(try factor(rope))
    case "llama3":
      ropeScaling = .llama3(
        factor: try factor(rope), lowFrequency: try factor(rope, "low_freq_factor"),
        highFrequency: try factor(rope, "high_freq_factor"), original: try originalPositions(fields, rope))
    case "longrope": ropeScaling = try longrope(fields, rope)
    default:
      throw rope.wrong(
        rope.has("rope_type") ? "rope_type" : "type", expected: "default, linear, dynamic, llama3 or longrope"
      )
    }
  }

  private func factor(_ rope: FieldReader, _ name: String = "factor") throws(LimnError) -> Double {
    guard let factor = try rope.double(name), factor.isFinite, factor > 0 else {
      throw rope.wrong(name, expected: "a number above 0")
    }
    return factor
  }

  /// The context length before scaling. Phi-3's config class always has a field for it.
  private func originalPositions(_ fields: FieldReader, _ rope: FieldReader) throws(LimnError) -> Int {
    let name = "original_max_position_embeddings"
    let inside = try architecture == .phi3 ? 4096 : rope.int(name) ?? maxPositions
    let positions = try fields.int(name) ?? inside
    guard positions > 1 else { throw fields.wrong(name, expected: "more than 1") }
    return positions
  }

  private func longrope(_ fields: FieldReader, _ rope: FieldReader) throws(LimnError) -> RoPEScaling {
    let original = try originalPositions(fields, rope)
    func factors(_ name: String) throws(LimnError) -> [Double] {
      guard let factors = try rope.doubles(name), factors.count == rotaryDimensions / 2,
        factors.allSatisfy({ $0.isFinite && $0 > 0 })
      else { throw rope.wrong(name, expected: "\(rotaryDimensions / 2) numbers above 0") }
      return factors
    }
    let stretch = try rope.double("factor") ?? Double(maxPositions) / Double(original)
    let amplitude =
      try rope.double("attention_factor")
      ?? (stretch <= 1 ? 1 : (1 + log(stretch) / log(Double(original))).squareRoot())
    return .longrope(
      short: try factors("short_factor"), long: try factors("long_factor"), original: original,
      amplitude: amplitude)
  }
}
