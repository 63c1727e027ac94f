package import LimnFiles
public import LimnImage
public import LimnTensor

/// How a model is opened.
public struct LoadOptions: Sendable {
  /// `fast` may round activations; `exact` keeps them in float32, to compare with references.
  public var precision: Precision = .fast
  /// How keys and values are kept; nil: `f16`, or `f32` where `precision` is `exact`.
  public var kvType: KVType?
  /// Threads for the forward pass; nil: as many as this process may use cores.
  public var threads: Int?
  /// Longest prompt and answer together, in positions; nil: what the model was trained for, at most 8,192.
  public var context: Int?
  /// The projector file of a GGUF model, where it does not lie beside it.
  public var projectorFile: String?
  /// The folder of the model that an adapter (LoRA) or a projector belongs to; nil: the one that its files name.
  public var base: String?
  /// Folders of adapters (LoRA, as peft writes them) that single questions may use: `GenerationOptions.adapters`. They stay
  /// unmerged, on any base, a quantised one included.
  public var adapters: [String] = []
  /// "auto", or the name of a built-in chat template (`BuiltInTemplate.names`).
  public var template = "auto"
  /// How pictures that are not square are brought to the size that the vision tower reads.
  public var preprocess: PreprocessPolicy = .trained
  /// What is done with pictures that are damaged or transparent.
  public var images = ImageOptions()
  /// How many questions are answered at the same time; more wait. Each one needs memory for its keys and values.
  public var maxSequences = 8
  /// How many questions may wait; more are refused. nil: any number.
  public var maxWaiting: Int?
  /// Bytes for the keys and values of questions under way and of those that are kept for later ones; a question waits
  /// until there is room for it, but one always has. An eighth of it, 256 MB at most, is for images' embeddings. 0 keeps
  /// nothing; nil: a quarter of the machine's memory, 1 GB at least.
  public var cacheBytes: Int?
  /// For tests: when reading gives way to answers.
  package var scheduler = Scheduler.Limits()
  /// Quantises linear layers while the model is opened; nil: weights stay as the checkpoint has them.
  public var quantization: LoadQuantization?

  /// The defaults.
  public init() {}

  /// How keys and values are kept.
  var storage: KVType { kvType ?? (precision == .exact ? .f32 : .f16) }

  /// Where a model lies, with the parts that these options name.
  package func location(of model: String) -> ModelLocation {
    ModelLocation(model, projector: projectorFile, base: base)
  }
}
