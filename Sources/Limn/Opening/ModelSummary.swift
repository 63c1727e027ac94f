/// A model in numbers. They come from configs and headers alone: no weights are read, so the files may be elsewhere.
///
/// What could not be found out is nil, or empty.
public struct ModelSummary: Sendable, Codable, Equatable {
  /// A file of weights.
  public struct File: Sendable, Codable, Equatable {
    /// As it was named, or relative to what was named.
    public var path: String
    /// Its size.
    public var bytes: Int
  }

  /// The language model.
  public struct Language: Sendable, Codable, Equatable {
    /// "llama", "mistral", "phi3", "phi2".
    public var architecture: String
    /// The number of decoder layers.
    public var layers: Int
    /// The width of a hidden state.
    public var hidden: Int
    /// Query heads in each layer.
    public var heads: Int
    /// Key and value heads in each layer.
    public var kvHeads: Int
    /// The width of a head.
    public var headSize: Int
    /// The inner width of the feed-forward block.
    public var ffn: Int
    /// Rows of the embedding table.
    public var vocabulary: Int
    /// How many positions a token sees, itself included; nil: all before it.
    public var slidingWindow: Int?
  }

  /// The vision tower.
  public struct Vision: Sendable, Codable, Equatable {
    /// "CLIP" or "SigLIP".
    public var family: String
    /// How many the checkpoint has.
    public var layers: Int
    /// How many are run: the features come from before the last ones.
    public var usedLayers: Int
    /// The width of a hidden state.
    public var hidden: Int
    /// Heads in each layer.
    public var heads: Int
    /// The inner width of the feed-forward block.
    public var ffn: Int
    /// The side of the square image, in pixels.
    public var imageSize: Int
    /// The side of a square patch, in pixels.
    public var patchSize: Int
  }

  /// What turns features of the tower into embeddings of the language model.
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
    /// Positions that a tile, or an image that is not cut, takes.
    public var tokensPerTile: Int
    /// The most that one image can have.
    public var maxTiles: Int
    /// The most positions that one image takes.
    public var maxTokens: Int
    /// Resolutions of tiled images, [height, width].
    public var grids: [[Int]]
    /// The token that stands for an image in text; nil: images stand between pieces of text.
    public var token: Token?
  }

  /// How many weights the parts have.
  public struct Parameters: Sendable, Codable, Equatable {
    /// Of the language model.
    public var language = 0
    /// Of the vision tower.
    public var vision = 0
    /// Of the projector.
    public var projector = 0
    /// Of all parts.
    public var total: Int { language + vision + projector }
  }

  /// The weights of one type.
  public struct TypeShare: Sendable, Codable, Equatable {
    /// As people call it: "Q4_K", "F16", "NF4".
    public var type: String
    /// How many tensors are of this type.
    public var tensors: Int
    /// In the files.
    public var bytes: Int
  }

  /// How long prompt and answer may be, in positions.
  public struct Context: Sendable, Codable, Equatable {
    /// Positions that the model was trained for.
    public var trained: Int
    /// Longest prompt and answer together, as the model is opened.
    public var used: Int
    /// What one position's keys and values take, by the type that they are kept in.
    public var keyValueBytesPerPosition: [String: Int]
  }

  /// Where the chat template comes from.
  public struct Template: Sendable, Codable, Equatable {
    /// Who chose a template.
    public enum Origin: String, Sendable, Codable {
      /// It was asked for.
      case named
      /// The checkpoint's own.
      case checkpoint
      /// The checkpoint carries none: one was chosen.
      case chosen
    }

    /// Who chose this one.
    public var origin: Origin
    /// Of one that limn brings: "vicuna_v1".
    public var name: String?
    /// Of the checkpoint's own: its file or key.
    public var file: String?
  }

  /// A token with its text.
  public struct Token: Sendable, Codable, Equatable {
    /// Its place in the vocabulary.
    public var id: Int
    /// nil: the tokenizer does not know it.
    public var text: String?
  }

  /// The name of the folder or file.
  public internal(set) var name: String
  /// "huggingFace", "original", "gguf", "xtuner", "llavaPhi".
  public internal(set) var layout: String?
  /// Folders elsewhere that the model is put together from.
  public internal(set) var parts: [String] = []
  /// Those that its weights lie in.
  public internal(set) var files: [File] = []
  /// The language model.
  public internal(set) var language: Language?
  /// The vision tower.
  public internal(set) var vision: Vision?
  /// The projector between them.
  public internal(set) var projector: Projector?
  /// How images become tokens.
  public internal(set) var images: Images?
  /// How many weights the parts have.
  public internal(set) var parameters = Parameters()
  /// The largest share first.
  public internal(set) var types: [TypeShare] = []
  /// Tokens that the tokenizer knows.
  public internal(set) var tokens: Int?
  /// How long prompt and answer may be.
  public internal(set) var context: Context?
  /// Where the chat template comes from.
  public internal(set) var template: Template?
  /// What ends an answer.
  public internal(set) var stopTokens: [Token] = []
  /// Texts that end an answer too.
  public internal(set) var stopTexts: [String] = []
}
