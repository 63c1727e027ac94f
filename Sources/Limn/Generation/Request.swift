public import LimnImage

/// Everything that one answer depends on, beside the model.
public struct Request: Sendable {
  /// What the model reads.
  public enum Prompt: Sendable {
    /// A conversation, which the model's chat template writes as prompt text; the answer is to its last message.
    case messages([ChatMessage])
    /// Prompt text that goes to the tokenizer as it is, special tokens too, with `<image>` where the pictures stand;
    /// without any `<image>` they come first.
    case raw(String, images: [ImageSource])
  }

  /// What the model reads.
  public var prompt: Prompt
  /// How it answers.
  public var options: GenerationOptions

  /// Asks for the answer to a conversation's last message.
  public init(_ messages: [ChatMessage], options: GenerationOptions = GenerationOptions()) {
    prompt = .messages(messages)
    self.options = options
  }

  /// Asks for what follows a text.
  public init(
    rawPrompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
  ) {
    prompt = .raw(rawPrompt, images: images)
    self.options = options
  }

  /// The pictures, in the order in which they are given.
  public var images: [ImageSource] {
    switch prompt {
    case .messages(let messages): messages.flatMap(\.images)
    case .raw(_, let images): images
    }
  }
}
