import LimnImage

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
  /// Whether `<|end|>`, `<image>` and the like in messages are special tokens and places of pictures, as for
  /// transformers. By default they are text: what a person or a document says never controls the model.
  public var recognisesSpecialTokens = false
  /// Whether pictures' embeddings, and keys and values where the prompt begins like an earlier one, are taken from
  /// earlier questions and kept for later ones. It changes no answer in `exact`; in `fast` a close decision behind an
  /// earlier answer may fall otherwise, since tokens of answers and of prompts are multiplied apart.
  public var reuse = true
  /// Whether tokens are guessed ahead where the text repeats itself. It changes no answer.
  public var speculation = true

  /// The adapters that this question uses, of `LoadOptions.adapters`, by their folders' names; nil: all of them.
  public var adapters: [String]?

  public init() {}
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
