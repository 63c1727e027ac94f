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
  private var spellings: SpecialSpellings
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
    if template != "auto" {
      self.init(.builtIn(try BuiltInTemplate.named(template)), .named, tokenizer)
    } else if let own = try ChatTemplate.find(in: source) {
      let placesImages = own.placesImages(specialTokens: tokenizer.specialTokens)
      self.init(
        placesImages ? .ofParts(own) : .ofText(own), .checkpoint(file: own.shortName, placesImages: placesImages),
        tokenizer)
    } else {
      let (builtIn, evidence) = BuiltInTemplate.choose(
        architecture: architecture, names: [name], hasToken: { tokenizer.id(of: $0) != nil })
      self.init(.builtIn(builtIn), .chosen(evidence), tokenizer)
    }
  }

  private init(_ template: Template, _ origin: Origin, _ tokenizer: Tokenizer) {
    self.template = template
    self.origin = origin
    specialTokens = tokenizer.specialTokens
    stops = if case .builtIn(let builtIn) = template { builtIn.stops } else { [] }
    spellings = SpecialSpellings(tokenizer)
    let turns = [
      ChatMessage(.user, "limn asks"), ChatMessage(.assistant, "limn answers"), ChatMessage(.user, "limn asks"),
    ]
    if let written = (try? render(turns)) ?? (try? render([turns[0]])) { spellings.insert(tokensOf: written) }
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

  /// The prompt text for the answer to a conversation. If the assistant has the last word, the answer goes on from there.
  package func prompt(_ messages: [ChatMessage], literalMark mark: Unicode.Scalar?) throws(LimnError) -> String {
    guard messages.count > 1, let last = messages.last, last.role == .assistant else {
      return try render(messages, literalMark: mark)
    }
    let begun = mark.map { spellings.marking(last.text, with: $0) } ?? last.text
    return try render(messages.dropLast(), literalMark: mark) + begun
  }

  /// The text of a conversation, `<image>` where its pictures stand.
  /// - Parameters:
  ///   - literalMark: what to write into spellings of special tokens and `<image>` that stand in the messages, so that
  ///     they are known as text; nil: they are left as they are.
  ///   - asks: whether the text ends where the answer begins.
  /// - Throws: bad data where the template refuses the conversation.
  package func render(
    _ messages: [ChatMessage], literalMark: Unicode.Scalar? = nil, asks: Bool = true
  ) throws(LimnError) -> String {
    let parts: JSON = .array(
      messages.map { message in
        message.json { text in literalMark.map { spellings.marking(text, with: $0) } ?? text }
      })
    do {
      switch template {
      case .ofParts(let own):
        return try own.render(messages: parts, addGenerationPrompt: asks, specialTokens: specialTokens)
      case .ofText(let own):
        return try own.render(
          messages: ChatTemplate.flattened(parts), addGenerationPrompt: asks, specialTokens: specialTokens)
      case .builtIn(let builtIn):
        return try builtIn.render(messages: parts, addGenerationPrompt: asks)
      }
    } catch {
      throw error.recoded([.badData: .invalidPrompt])
    }
  }
}

extension ChatMessage {
  /// As templates read it: the parts in order; pictures that stand inline are part of the text.
  /// - Parameter written: how a text of the message is written.
  fileprivate func json(_ written: (String) -> String) -> JSON {
    func json(_ text: String) -> JSON { .object(["type": .string("text"), "text": .string(text)]) }
    let content: [JSON]
    if isInline {
      let pieces = parts.map { if case .text(let text) = $0 { written(text) } else { ChatTemplate.imageMark } }
      content = [json(pieces.joined())]
    } else {
      content = parts.map {
        if case .text(let text) = $0 { json(written(text)) } else { .object(["type": .string("image")]) }
      }
    }
    return .object(["role": .string(role.rawValue), "content": .array(content)])
  }
}

extension ChatTemplate {
  /// The file's name without its folder.
  fileprivate var shortName: String { name.split(separator: "/").last.map(String.init) ?? name }
}
