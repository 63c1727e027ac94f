import LimnCore
package import LimnTensor

/// What a checkpoint is, whatever layout said so: every number that the models need, defaults resolved.
package struct ModelConfig: Sendable {
  package var language: LanguageConfig
  /// nil: a language model without vision tower.
  package var vision: VisionConfig?
  /// nil where `vision` is.
  package var projector: ProjectorConfig?
  /// The token that stands for a picture; nil in the original layout and in GGUF, which have none.
  package var imageTokenID: Int?
  /// Which hidden states of the vision tower become features, as the config says them: 0 is what enters the
  /// first layer, N what leaves the N-th, negative ones count from the end. Several are concatenated.
  package var featureLayers: [Int] = [-2]
  /// Whether the first feature stays (strategy "full", "cls_patch"): the class token's. A SigLIP has none, and all of
  /// its features are patches; transformers' "default" leaves the first one out even so.
  package var keepsClassToken = false
  package var family = Family.llava
  /// The grids of LLaVA-NeXT, in the order of the config.
  package var gridPinpoints: [(height: Int, width: Int)] = []
  /// `image_aspect_ratio` of the original layout, which says how the model was trained; nil elsewhere.
  package var aspectPolicy: String?

  /// Of a language model alone.
  package init(language: LanguageConfig) { self.language = language }

  /// How pictures become tokens.
  package enum Family: Sendable {
    /// One tile.
    case llava
    /// An overview and tiles, without their padding, a newline after each row.
    case llavaNext
  }
}

/// The language model.
package struct LanguageConfig: Sendable {
  package enum Architecture: String, Sendable, CaseIterable {
    case llama, mistral, phi3, phi2
  }

  /// The feed-forward's function; Llama's gate has SiLU, Phi-2 a GELU.
  package enum Activation: Sendable, Equatable {
    case silu
    case gelu(GELU)

    package var gelu: GELU? { if case .gelu(let kind) = self { kind } else { nil } }
  }

  /// How rotary frequencies are changed to reach beyond the trained context.
  package enum RoPEScaling: Sendable, Equatable {
    case none
    /// Positions are divided by the factor.
    case linear(Double)
    /// The base grows with the length, beyond `maxPositions`.
    case dynamic(Double)
    /// Llama 3.1: long waves are stretched, short ones kept.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, original: Int)
    /// A divisor for each frequency, others beyond the original length; cosines and sines times `amplitude`.
    case longrope(short: [Double], long: [Double], original: Int, amplitude: Double)

    /// Whether a position is rotated alike in a short sequence and in a long one.
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
  /// Values per head.
  package var headSize: Int
  package var vocabulary: Int
  /// The context that the model was trained for.
  package var maxPositions: Int
  /// Of the norms.
  package var epsilon: Double
  package var ropeTheta: Double
  package var ropeScaling = RoPEScaling.none
  /// How many values of each head are rotated.
  package var rotaryDimensions: Int
  /// Whether neighbouring values turn together (GGUF's llama) and not the halves of a head.
  package var ropeAdjacent = false
  /// How many positions a token sees, itself included; nil: all.
  package var slidingWindow: Int?
  /// Whether the output head is the embedding table.
  package var tiedEmbeddings = false
  package var activation = Activation.silu
}

/// The vision tower.
package struct VisionConfig: Sendable, Equatable {
  package enum Family: String, Sendable {
    case clip = "CLIP"
    case siglip = "SigLIP"
  }

  package var family = Family.clip
  package var hidden: Int
  package var ffn: Int
  /// How many the checkpoint has.
  package var layers: Int
  package var heads: Int
  /// The side of the square picture, and of a patch, in pixels.
  package var imageSize: Int
  package var patchSize: Int
  package var activation: GELU
  package var epsilon: Double

  /// CLIP puts a class token before the patches and a norm before the first block; SigLIP neither.
  package var hasClassToken: Bool { family == .clip }
  package var hasPreNorm: Bool { family == .clip }
  package var patchesPerSide: Int { imageSize / patchSize }
}

/// Two linear layers with a GELU between, and norms in some families.
package struct ProjectorConfig: Sendable, Equatable {
  package var activation: GELU
  /// Epsilon of the norm before the first layer (VipLLaVA); nil: there is none.
  package var inputNorm: Double?
  /// Epsilon of the norms after each layer, before the GELU and at the end (Yi-VL); nil: there are none.
  package var layerNorms: Double?

  package init(activation: GELU, inputNorm: Double? = nil, layerNorms: Double? = nil) {
    self.activation = activation
    self.inputNorm = inputNorm
    self.layerNorms = layerNorms
  }
}

extension LanguageConfig {
  /// Refuses sizes that no model has or that contradict each other.
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
