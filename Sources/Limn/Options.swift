package import LimnFiles
public import LimnImage
public import LimnTensor

/// How a model is opened.
public struct LoadOptions: Sendable {
  /// `fast` may round activations; `exact` keeps them in float32, to compare with references.
  public var precision: Precision = .fast
  /// How keys and values are kept; nil: `f16`, or `f32` where `compute` is `exact`.
  public var kvType: KVType?
  /// Threads for the forward pass; nil: as many as this process may use cores.
  public var threads: Int?
  /// Longest prompt and answer together, in positions; nil: what the model was trained for, at most 8,192.
  public var context: Int?
  /// The projector file of a GGUF model, where it does not lie beside it.
  public var projectorFile: String?
  /// The folder of the model that an adapter (LoRA) or a projector belongs to; nil: the one that its files name.
  public var base: String?
  /// "auto", or the name of a built-in chat template (`BuiltInTemplate.names`).
  public var template = "auto"
  /// How pictures that are not square are brought to the size that the vision tower reads.
  public var preprocess: PreprocessPolicy = .trained
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
  public var quantization: Quantization?

  public init() {}

  /// Where a model lies, with the parts that these options name.
  package func location(of model: String) -> ModelLocation {
    ModelLocation(model, projector: projectorFile, base: base)
  }
}

/// What happens when a prompt, with its pictures, is longer than the context.
public enum Overflow: String, Sendable, CaseIterable {
  /// An error that says by how much.
  case stop
  /// Text from the middle of the prompt is left out; pictures, beginning and end stay.
  case truncateMiddle = "truncate-middle"
}

/// How an answer is generated.
public struct GenerationOptions: Sendable {
  public var sampling = Sampling()
  /// The answer's longest length in tokens; it also ends where the context does.
  public var maxTokens = 512
  /// Texts that end the answer; they are not part of it.
  public var stops: [String] = []
  public var overflow: Overflow = .stop
  /// Whether pictures' embeddings, and keys and values where the prompt begins like an earlier one, are taken from
  /// earlier questions and kept for later ones. It changes no answer in `exact`; in `fast` a close decision behind an
  /// earlier answer may fall otherwise, since tokens of answers and of prompts are multiplied apart.
  public var reuse = true
  /// Whether tokens are guessed ahead where the text repeats itself. It changes no answer.
  public var speculation = true

  public init() {}
}

/// One message of a conversation.
public struct ChatMessage: Sendable {
  public enum Role: String, Sendable {
    case system, user, assistant
  }

  public var role: Role
  public var text: String
  /// Pictures that belong to this message; in the prompt they stand before its text.
  public var images: [ImageSource]

  public init(_ role: Role, _ text: String, images: [ImageSource] = []) {
    self.role = role
    self.text = text
    self.images = images
  }
}

/// A finished answer.
public struct Answer: Sendable, Equatable {
  public enum FinishReason: String, Sendable {
    /// The model ended its answer, or a stop text was met.
    case stop
    /// `maxTokens` or the end of the context was reached.
    case length
  }

  public struct Usage: Sendable, Equatable {
    /// Positions of the prompt, those of the pictures included.
    public var promptTokens: Int
    /// Positions that the pictures take.
    public var imageTokens: Int
    /// Tokens of the answer.
    public var completionTokens: Int
  }

  /// Wall-clock milliseconds.
  public struct Timings: Sendable, Equatable {
    /// Decoding, resizing and encoding the pictures.
    public var imageEncode = 0.0
    /// Computing the prompt.
    public var prompt = 0.0
    /// From asking to the first word.
    public var firstToken = 0.0
    /// From the first word to the last.
    public var predicted = 0.0
    /// Tokens that were generated after the first one; what ends the answer is one of them.
    public var predictedTokens = 0
    /// Prompt positions that were computed, those from an earlier turn not counted.
    public var promptComputed = 0
    /// Tokens that were guessed ahead, and how many of them were right.
    public var drafted = 0
    public var accepted = 0
  }

  public var text: String
  public var finishReason: FinishReason
  public var usage: Usage
  public var timings: Timings
}

/// What happens while an answer is made.
public enum AnswerEvent: Sendable {
  /// Parts of a picture are encoded.
  case encoding(done: Int, of: Int)
  /// Positions of the prompt are computed.
  case reading(done: Int, of: Int)
  /// The next piece of the answer, never half a character.
  case text(String)
  case finished(Answer)
}
