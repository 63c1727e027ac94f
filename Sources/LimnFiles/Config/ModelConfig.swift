import LimnCore
package import LimnTensor

/// A checkpoint's configuration, independent of its layout: every number that the models need, defaults resolved.
package struct ModelConfig: Sendable {
  package var language: LanguageConfig
  /// nil for a language model without vision.
  package var vision: VisionConfig?
  /// nil if `vision` is.
  package var projector: ProjectorConfig?
  /// The token that stands for an image; nil in the original layout and in GGUF, which have none.
  package var imageTokenID: Int?
  /// The hidden states of the vision tower that become features, numbered as in the config: 0 is the input of the
  /// first layer, N the output of the N-th, and negative numbers count from the end. Several are concatenated.
  package var featureLayers: [Int] = [-2]
  /// Whether the first feature, the class token's, stays (strategy "full", "cls_patch"). SigLIP has no class token,
  /// and all of its features are patches; transformers' "default" drops the first one even so.
  package var keepsClassToken = false
  package var family = Family.llava
  /// The grids of LLaVA-NeXT, in the config's order.
  package var gridPinpoints: [(height: Int, width: Int)] = []
  /// The original layout's `image_aspect_ratio`, which says how the model was trained; nil elsewhere.
  package var aspectPolicy: String?

  /// For a language model without vision.
  package init(language: LanguageConfig) { self.language = language }

  /// How images become tokens.
  package enum Family: Sendable {
    /// One tile.
    case llava
    /// An overview and tiles, with padding removed and a newline after each row.
    case llavaNext
  }
}

/// The configuration of the language model.
package struct LanguageConfig: Sendable {
  package enum Architecture: String, Sendable, CaseIterable {
    case llama, mistral, phi3, phi2
  }

  /// The activation of the MLP: SiLU on Llama's gate, GELU in Phi-2.
  package enum Activation: Sendable, Equatable {
    case silu
    case gelu(GELU)

    package var gelu: GELU? { if case .gelu(let kind) = self { kind } else { nil } }
  }

  /// How RoPE frequencies are changed to reach beyond the trained context.
  package enum RoPEScaling: Sendable, Equatable {
    case none
    /// Divides positions by the factor.
    case linear(Double)
    /// Raises the base with the length, beyond `maxPositions`.
    case dynamic(Double)
    /// Llama 3.1: stretches long wavelengths and keeps short ones.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, original: Int)
    /// One divisor for each frequency, a second set beyond the original length; cosines and sines are multiplied by
    /// `amplitude`.
    case longrope(short: [Double], long: [Double], original: Int, amplitude: Double)

    /// Whether a position's rotation is the same in short and long sequences.
    package var isTheSameForAllLengths: Bool {
      switch self {
      case .none, .linear, .llama3: true
      case .dynamic: false
      // GGUF's Llama 3.1 has one list of divisors for all lengths.
      case .longrope(let short, let long, _, _): short == long
      }
    }
  }

  package var architecture: Architecture
  package var hidden: Int
  package var ffn: Int
  package var layers: Int
  package var heads: Int
  package var kvHeads: Int
  /// Values in each head.
  package var headSize: Int
  package var vocabulary: Int
  /// The context length that the model was trained for.
  package var maxPositions: Int
  /// The epsilon of the norms.
  package var epsilon: Double
  package var ropeTheta: Double
  package var ropeScaling = RoPEScaling.none
  /// How many values of each head RoPE rotates.
  package var rotaryDimensions: Int
  /// Whether neighbouring values rotate together (GGUF's llama) rather than the two halves of a head.
  package var ropeAdjacent = false
  /// How many positions a token attends to, itself included; nil: all.
  package var slidingWindow: Int?
  /// Whether the output head is the embedding table.
  package var tiedEmbeddings = false
  package var activation = Activation.silu
}

/// The configuration of the vision tower.
package struct VisionConfig: Sendable, Equatable {
  package enum Family: String, Sendable {
    case clip = "CLIP"
    case siglip = "SigLIP"
  }

  package var family = Family.clip
  package var hidden: Int
  package var ffn: Int
  /// How many layers the checkpoint has.
  package var layers: Int
  package var heads: Int
  /// The side of the square image, and of a patch, in pixels.
  package var imageSize: Int
  package var patchSize: Int
  package var activation: GELU
  package var epsilon: Double

  /// CLIP adds a class token before the patches and a norm before the first block; SigLIP has neither.
  package var hasClassToken: Bool { family == .clip }
  package var hasPreNorm: Bool { family == .clip }
  package var patchesPerSide: Int { imageSize / patchSize }
}

/// Two linear layers with a GELU between, plus norms in some families.
package struct ProjectorConfig: Sendable, Equatable {
  package var activation: GELU
  /// The epsilon of the norm before the first layer (VipLLaVA); nil: no such norm.
  package var inputNorm: Double?
  /// The epsilon of the norms after each layer: before the GELU and at the end (Yi-VL); nil: no such norms.
  package var layerNorms: Double?

  package init(activation: GELU, inputNorm: Double? = nil, layerNorms: Double? = nil) {
    self.activation = activation
    self.inputNorm = inputNorm
    self.layerNorms = layerNorms
  }
}

extension LanguageConfig {
  /// Refuses sizes that no model has, or that contradict each other.
  func check(_ place: String) throws(LimnError) {
    func refuse(_ what: String, _ value: Int, _ expected: String) -> LimnError {
      .badData("\(what) makes no sense", in: place, expected: expected, found: "\(value)")
    }
    let ranges: [(String, Int, ClosedRange<Int>)] = [
      ("the hidden size", hidden, 1...1 << 20), ("the feed-forward size", ffn, 1...1 << 22),
      ("the number of layers", layers, 1...1024), ("the number of heads", heads, 1...4096),
      ("the head size", headSize, 1...4096), ("the vocabulary's size", vocabulary, 1...1 << 24),
      ("the number of positions", maxPositions, 1...1 << 27),
    ]
    for (what, value, range) in ranges where !range.contains(value) {
      throw refuse(what, value, "\(range.lowerBound) to \(range.upperBound)")
    }
    guard kvHeads > 0, heads % kvHeads == 0 else {
      throw refuse("the number of key and value heads", kvHeads, "a divisor of \(heads)")
    }
    guard rotaryDimensions > 0, rotaryDimensions <= headSize, rotaryDimensions % 2 == 0 else {
      throw refuse("the number of rotated values", rotaryDimensions, "even, at most \(headSize)")
    }
    if let slidingWindow, slidingWindow < 1 {
      throw refuse("the sliding window", slidingWindow, "at least 1")
    }
    guard epsilon.isFinite, epsilon >= 0, ropeTheta.isFinite, ropeTheta > 0 else {
      throw LimnError.badData("the norms' epsilon or RoPE's theta makes no sense", in: place)
    }
  }
}

extension VisionConfig {
  func check(_ place: String) throws(LimnError) {
    let ranges: [(String, Int, ClosedRange<Int>)] = [
      ("hidden size", hidden, 1...1 << 20), ("feed-forward size", ffn, 1...1 << 22),
      ("number of layers", layers, 1...1024),
      ("number of heads", heads, 1...4096), ("image size", imageSize, 1...8192),
      ("patch size", patchSize, 1...max(1, imageSize)),
    ]
    for (what, value, range) in ranges where !range.contains(value) {
      throw LimnError.badData(
        "the vision tower's \(what) makes no sense", in: place,
        expected: "\(range.lowerBound) to \(range.upperBound)", found: "\(value)")
    }
    guard hidden % heads == 0, epsilon.isFinite, epsilon >= 0 else {
      throw LimnError.badData(
        "the vision tower's heads do not divide its hidden size", in: place,
        expected: "a divisor of \(hidden)",
        found: "\(heads)")
    }
  }
}
