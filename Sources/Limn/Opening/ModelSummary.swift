/// A model in numbers. They come from configs and headers alone: no weights are read, so the files may be elsewhere.
///
/// What could not be found out is nil, or empty.
public struct ModelSummary: Sendable, Codable, Equatable {
  public struct File: Sendable, Codable, Equatable {
    public var path: String
    public var bytes: Int
  }

  public struct Language: Sendable, Codable, Equatable {
    /// "llama", "mistral", "phi3", "phi2".
    public var architecture: String
    public var layers: Int
    public var hidden: Int
    public var heads: Int
    public var kvHeads: Int
    public var headSize: Int
    public var ffn: Int
    /// Rows of the embedding table.
    public var vocabulary: Int
    /// How many positions a token sees, itself included; nil: all before it.
    public var slidingWindow: Int?
  }

  public struct Vision: Sendable, Codable, Equatable {
    /// "CLIP" or "SigLIP".
    public var family: String
    /// How many the checkpoint has.
    public var layers: Int
    /// How many are run: the features come from before the last ones.
    public var usedLayers: Int
    public var hidden: Int
    public var heads: Int
    public var ffn: Int
    /// The side of the square image, and of a patch, in pixels.
    public var imageSize: Int
    public var patchSize: Int
  }

  public struct Projector: Sendable, Codable, Equatable {
    /// "mlp": two linear layers with a GELU between.
    public var kind: String
    /// Whether there are norms before, between or after them.
    public var hasNorms: Bool
    /// Which hidden states of the tower it reads, as the config says them: negative ones count from the end.
    public var featureLayers: [Int]
  }

  /// How images become tokens.
  public struct Images: Sendable, Codable, Equatable {
    /// Whether large images are cut into tiles beside an overview (LLaVA-NeXT).
    public var isTiled: Bool
    public var tokensPerTile: Int
    /// The most that one image can have.
    public var maxTiles: Int
    public var maxTokens: Int
    /// Resolutions of tiled images, [height, width].
    public var grids: [[Int]]
    /// The token that stands for an image in text; nil: images stand between pieces of text.
    public var token: Token?
  }

  public struct Parameters: Sendable, Codable, Equatable {
    public var language = 0
    public var vision = 0
    public var projector = 0
    public var total: Int { language + vision + projector }
  }

  /// The weights of one type.
  public struct TypeShare: Sendable, Codable, Equatable {
    /// As people call it: "Q4_K", "F16", "NF4".
    public var type: String
    public var tensors: Int
    /// In the files.
    public var bytes: Int
  }

  public struct Context: Sendable, Codable, Equatable {
    /// Positions that the model was trained for.
    public var trained: Int
    /// Longest prompt and answer together, as the model is opened.
    public var used: Int
    /// What one position's keys and values take, by the type that they are kept in.
    public var keyValueBytesPerPosition: [String: Int]
  }

  public struct Template: Sendable, Codable, Equatable {
    public enum Origin: String, Sendable, Codable {
      /// It was asked for.
      case named
      /// The checkpoint's own.
      case checkpoint
      /// The checkpoint carries none: one was chosen.
      case chosen
    }

    public var origin: Origin
    /// Of one that limn brings: "vicuna_v1".
    public var name: String?
    /// Of the checkpoint's own: its file or key.
    public var file: String?
  }

  public struct Token: Sendable, Codable, Equatable {
    public var id: Int
    /// nil: the tokenizer does not know it.
    public var text: String?
  }

  public internal(set) var name: String
  /// "huggingFace", "original", "gguf", "xtuner", "llavaPhi".
  public internal(set) var layout: String?
  /// Folders elsewhere that the model is put together from.
  public internal(set) var parts: [String] = []
  /// Those that its weights lie in.
  public internal(set) var files: [File] = []
  public internal(set) var language: Language?
  public internal(set) var vision: Vision?
  public internal(set) var projector: Projector?
  public internal(set) var images: Images?
  public internal(set) var parameters = Parameters()
  /// The largest share first.
  public internal(set) var types: [TypeShare] = []
  /// Tokens that the tokenizer knows.
  public internal(set) var tokens: Int?
  public internal(set) var context: Context?
  public internal(set) var template: Template?
  /// What ends an answer.
  public internal(set) var stopTokens: [Token] = []
  public internal(set) var stopTexts: [String] = []
}
