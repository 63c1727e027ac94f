package import LimnFiles
package import LimnTensor
package import LimnText

/// How a model's conversations are written as prompt text, and which texts end its answers.
package struct ConversationFormat: Sendable {
  private enum Template: Sendable {
    /// The checkpoint's own, which writes places for pictures itself.
    case ofParts(ChatTemplate)
    /// The checkpoint's own, made for text: the pictures' places are put into the text, as LLaVA was trained.
    case ofText(ChatTemplate)
    case builtIn(BuiltInTemplate)
  }

  private let template: Template
  private let specialTokens: [String: String]
  /// Texts that end an answer, beside the tokens that do.
  package let stops: [String]
  /// Which template it is and why, for `limn show`.
  package let reason: String

  /// - Parameter template: "auto", or a built-in template's name.
  package init(_ checkpoint: Checkpoint, _ tokenizer: Tokenizer, template: String) throws(LimnError) {
    specialTokens = tokenizer.specialTokens
    guard template == "auto" else {
      let builtIn = try BuiltInTemplate.named(template)
      self.template = .builtIn(builtIn)
      stops = builtIn.stops
      reason = "\(builtIn.name), as asked for"
      return
    }
    if let own = try ChatTemplate.find(in: checkpoint.tokenizer) {
      stops = []
      if own.placesPictures(specialTokens: specialTokens) {
        self.template = .ofParts(own)
        reason = "the checkpoint's own (\(own.shortName))"
      } else {
        self.template = .ofText(own)
        reason = "the checkpoint's own (\(own.shortName)), made for text; pictures go before it"
      }
      return
    }
    let builtIn = BuiltInTemplate.choose(
      architecture: checkpoint.config.language.architecture.rawValue, names: [checkpoint.name],
      hasToken: { tokenizer.id(of: $0) != nil })
    self.template = .builtIn(builtIn)
    stops = builtIn.stops
    reason = "\(builtIn.name), chosen by what the checkpoint is, for it carries none"
  }

  /// The prompt text for a conversation, `<image>` where its pictures stand.
  package func render(_ messages: [ChatMessage]) throws(LimnError) -> String {
    let parts: JSON = .array(
      messages.map { message in
        let images = message.images.map { _ in JSON.object(["type": .string("image")]) }
        let text: JSON = .object(["type": .string("text"), "text": .string(message.text)])
        return .object(["role": .string(message.role.rawValue), "content": .array(images + [text])])
      })
    switch template {
    case .ofParts(let own):
      return try own.render(messages: parts, addGenerationPrompt: true, specialTokens: specialTokens)
    case .ofText(let own):
      return try own.render(
        messages: ChatTemplate.flattened(parts), addGenerationPrompt: true, specialTokens: specialTokens)
    case .builtIn(let builtIn):
      return try builtIn.render(messages: parts)
    }
  }
}

extension ChatTemplate {
  /// The file's name without its folder.
  fileprivate var shortName: String { name.split(separator: "/").last.map(String.init) ?? name }
}
