import Foundation
package import LimnFiles
package import LimnCore
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

  /// Where the template is from.
  package enum Origin: Sendable, Equatable {
    case named
    /// The checkpoint's own file or key.
    case checkpoint(file: String, placesImages: Bool)
    /// The checkpoint carries none.
    case chosen(BuiltInTemplate.Evidence)
  }

  private let template: Template
  private let specialTokens: [String: String]
  /// Texts that end an answer, beside the tokens that do.
  package let stops: [String]
  package let origin: Origin

  /// - Parameters:
  ///   - source: where the checkpoint's own template would be.
  ///   - architecture: of the language model, if it is known.
  ///   - name: the checkpoint's.
  ///   - template: "auto", or a built-in template's name.
  package init(
    _ source: TokenizerSource, _ tokenizer: Tokenizer, architecture: String?, name: String, template: String
  ) throws(LimnError) {
    specialTokens = tokenizer.specialTokens
    guard template == "auto" else {
      let builtIn = try BuiltInTemplate.named(template)
      self.template = .builtIn(builtIn)
      stops = builtIn.stops
      origin = .named
      return
    }
    if let own = try ChatTemplate.find(in: source) {
      let placesImages = own.placesImages(specialTokens: specialTokens)
      self.template = placesImages ? .ofParts(own) : .ofText(own)
      stops = []
      origin = .checkpoint(file: own.shortName, placesImages: placesImages)
      return
    }
    let (builtIn, evidence) = BuiltInTemplate.choose(
      architecture: architecture, names: [name], hasToken: { tokenizer.id(of: $0) != nil })
    self.template = .builtIn(builtIn)
    stops = builtIn.stops
    origin = .chosen(evidence)
  }

  /// As LLaVA's papers call it; nil for a checkpoint's own.
  package var builtInName: String? { if case .builtIn(let builtIn) = template { builtIn.name } else { nil } }

  /// The template's text.
  package var source: String {
    switch template {
    case .ofParts(let own), .ofText(let own): own.source
    case .builtIn(let builtIn): builtIn.source
    }
  }

  /// What the template writes behind an answer; nil where it does not write one as it stands.
  package func answerEnd() throws(LimnError) -> String? {
    let answer = "limn answers so"
    let text = try render([ChatMessage(.user, "limn asks"), ChatMessage(.assistant, answer)], asks: false)
    return text.range(of: answer).map { String(text[$0.upperBound...]) }
  }

  /// The prompt text for a conversation, `<image>` where its pictures stand.
  /// - Parameter asks: whether the text ends where the answer begins.
  package func render(_ messages: [ChatMessage], asks: Bool = true) throws(LimnError) -> String {
    let parts: JSON = .array(messages.map { $0.json })
    switch template {
    case .ofParts(let own):
      return try own.render(messages: parts, addGenerationPrompt: asks, specialTokens: specialTokens)
    case .ofText(let own):
      return try own.render(
        messages: ChatTemplate.flattened(parts), addGenerationPrompt: asks, specialTokens: specialTokens)
    case .builtIn(let builtIn):
      return try builtIn.render(messages: parts, addGenerationPrompt: asks)
    }
  }
}

extension ChatMessage {
  /// As templates read it: the parts in order; pictures that stand inline are part of the text.
  fileprivate var json: JSON {
    let content: [JSON] =
      isInline
      ? [Self.json(parts.map { if case .text(let text) = $0 { text } else { ChatTemplate.imageMark } }.joined())]
      : parts.map { if case .text(let text) = $0 { Self.json(text) } else { .object(["type": .string("image")]) } }
    return .object(["role": .string(role.rawValue), "content": .array(content)])
  }

  private static func json(_ text: String) -> JSON {
    .object(["type": .string("text"), "text": .string(text)])
  }
}

extension ChatTemplate {
  /// The file's name without its folder.
  fileprivate var shortName: String { name.split(separator: "/").last.map(String.init) ?? name }
}
