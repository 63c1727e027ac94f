public import LimnCore
import LimnImage

/// What to do if a prompt with its images is longer than the context.
public enum Overflow: String, Sendable, CaseIterable {
  /// Throw an error that says by how much.
  case stop
  /// Cut text from the middle of the prompt; images, the beginning and the end stay.
  case truncateMiddle = "truncate-middle"
}

/// How to generate an answer.
public struct GenerationOptions: Sendable {
  /// How each token is chosen.
  public var sampling = Sampling()
  /// The maximum length of the answer in tokens; an answer also ends at the end of the context.
  public var maxTokens = 512
  /// Texts that end the answer; they are not part of it.
  public var stops: [String] = []
  /// What to do if the prompt is longer than the context.
  public var overflow: Overflow = .stop
  /// What the answer has to be.
  public var format: AnswerFormat = .text
  /// Whether `<|end|>`, `<image>` and the like in messages are special tokens and image placeholders, as in
  /// transformers. By default they are text, so that what a person or a document says never controls the model.
  public var recognisesSpecialTokens = false
  /// Whether image embeddings, and keys and values if the prompt begins like an earlier one, are reused from earlier
  /// questions and kept for later ones. In `exact` this changes no answer. In `fast` a close decision may fall the
  /// other way if the reused prompt includes an earlier answer, because decode and prefill multiply differently.
  public var reuse = true
  /// Whether to draft tokens ahead where the text repeats itself. It changes no answer.
  public var speculation = true

  /// Whether to report each token with its log-probability, and how many of the most likely tokens beside it; nil: no
  /// log-probabilities. They are the model's own, before penalties, biases and temperature.
  public var logprobs: Int?
  /// Added to the logits of tokens, by id; −∞ forbids one. An id beyond the vocabulary is an error.
  public var logitBias: [Int: Double] = [:]
  /// Whether the answer goes on to `maxTokens`: whatever ends one is forbidden. For measurements.
  public var ignoresEnd = false

  /// Which of `LoadOptions.adapters` to use for this question, by their folders' names; nil: all of them.
  public var adapters: [String]?

  /// The defaults: greedy, at most 512 tokens.
  public init() {}
}

/// What an answer has to be. It is enforced token by token: an answer that ends with `FinishReason.stop` always fits.
public enum AnswerFormat: Sendable, Hashable {
  /// Any text.
  case text
  /// A JSON object.
  case jsonObject
  /// JSON that fits a JSON schema, which is given as JSON text. Properties come in the schema's order.
  case json(schema: String)
}

/// A finished answer.
public struct Answer: Sendable, Equatable {
  /// Why an answer ended.
  public enum FinishReason: String, Sendable {
    /// The model ended its answer, or the answer reached a stop text.
    case stop
    /// The answer reached `maxTokens` or the end of the context.
    case length
  }

  /// Lengths in positions and tokens.
  public struct Usage: Sendable, Equatable {
    /// Positions in the prompt, including those of images.
    public var promptTokens: Int
    /// Positions taken by images.
    public var imageTokens: Int
    /// Tokens in the answer.
    public var completionTokens: Int
  }

  /// Times in wall-clock milliseconds.
  public struct Timings: Sendable, Equatable {
    /// Decoding, resizing and encoding the images.
    public var imageEncode = 0.0
    /// Prefilling the prompt.
    public var prompt = 0.0
    /// From the question to the first token.
    public var firstToken = 0.0
    /// From the first token to the last.
    public var predicted = 0.0
    /// Tokens generated after the first one, including the one that ends the answer.
    public var predictedTokens = 0
    /// Prompt positions that were computed, rather than reused from an earlier turn.
    public var promptComputed = 0
    /// Tokens that were drafted.
    public var drafted = 0
    /// Drafted tokens that the model accepted.
    public var accepted = 0
  }

  /// What the model answered, without special tokens.
  public var text: String
  /// Why it ended.
  public var finishReason: FinishReason
  /// Which of `GenerationOptions.stops` ended it; nil: none of them.
  public var stop: String?
  /// How long prompt and answer are.
  public var usage: Usage
  /// How long they took.
  public var timings: Timings
}

/// Events while an answer is generated.
public enum AnswerEvent: Sendable {
  /// Something about an image, by its name, that its viewer should know: see `RGBImage.warnings`.
  case warning(LimnError.Text, image: String)
  /// Progress in encoding the images.
  case encoding(done: Int, of: Int)
  /// Progress in prefilling the prompt, in positions.
  case reading(done: Int, of: Int)
  /// The next piece of the answer, always whole characters.
  case text(String)
  /// Tokens of the answer, if `GenerationOptions.logprobs` asks for them; text that comes after them may include some of
  /// theirs, because it is held back until its characters are whole and it can be no stop text.
  case tokens([TokenLogprob])
  case finished(Answer)
}

/// A token of an answer, and how likely the model found it.
public struct TokenLogprob: Sendable, Equatable {
  /// A token that could stand here.
  public struct Alternative: Sendable, Equatable {
    /// Its place in the vocabulary.
    public var id: Int
    /// Its text; a part of a character becomes U+FFFD.
    public var text: String
    /// Its text in UTF-8, which may be a part of a character.
    public var bytes: [UInt8]
    /// The natural logarithm of its probability.
    public var logprob: Double
  }

  /// The chosen token.
  public var chosen: Alternative
  /// The most likely tokens, the most likely first.
  public var top: [Alternative]
}
