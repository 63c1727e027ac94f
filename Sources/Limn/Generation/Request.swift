public import LimnImage

/// Everything, besides the model, that an answer depends on.
public struct Request: Sendable {
  /// The model's input.
  public enum Prompt: Sendable {
    /// A conversation, which the model's chat template turns into prompt text; the answer responds to its last message, or
    /// goes on from it if it is the assistant's.
    case messages([ChatMessage])
    /// Prompt text that is tokenised as it is, special tokens included, with `<image>` where the images belong; without
    /// any `<image>`, they come first.
    case raw(String, images: [ImageSource])
    /// Token ids from the model's tokenizer, special ones included.
    case tokens([Int])
  }

  /// The model's input.
  public var prompt: Prompt
  /// How the answer is generated.
  public var options: GenerationOptions

  /// Asks for the answer to a conversation's last message.
  public init(_ messages: [ChatMessage], options: GenerationOptions = GenerationOptions()) {
    prompt = .messages(messages)
    self.options = options
  }

  /// Asks for the continuation of a text.
  public init(
    rawPrompt: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
  ) {
    prompt = .raw(rawPrompt, images: images)
    self.options = options
  }

  /// The images, in the order in which they are given.
  public var images: [ImageSource] {
    switch prompt {
    case .messages(let messages): messages.flatMap(\.images)
    case .raw(_, let images): images
    case .tokens: []
    }
  }
}
