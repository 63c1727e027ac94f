import LimnCore
import LimnFiles
import LimnText

extension VisionLanguageModel {
  /// Renders and tokenises a request's prompt.
  package func prompt(_ request: Request) throws(LimnError) -> Prompt {
    let imageToken = checkpoint.config.imageTokenID
    let prompt: Prompt
    switch request.prompt {
    case .raw(var text, let images):
      if text.cut(at: ChatTemplate.imageMark).count == 1 {
        text = String(repeating: ChatTemplate.imageMark + "\n", count: images.count) + text
      }
      prompt = Prompt(text: text, tokenizer: tokenizer, imageToken: imageToken)
    case .tokens(let ids):
      prompt = try Prompt(ids: ids, imageToken: nil, imageTokenCounts: [], vocabulary: vocabularySize)
    case .messages(let messages):
      let mark: Unicode.Scalar? =
        request.options.recognisesSpecialTokens ? nil : try SpecialSpellings.mark(for: messages.flatMap(\.texts))
      let text = try conversation.prompt(messages, literalMark: mark)
      // A template that writes BOS itself has already written everything that the tokenizer would add.
      let begins = tokenizer.bosToken.map { text.utf8.starts(with: $0.utf8) } ?? false
      prompt = Prompt(
        text: text, tokenizer: tokenizer, imageToken: imageToken, addSpecial: !begins, literalMark: mark)
    }
    try prompt.check(vocabulary: vocabularySize, in: checkpoint.reference)
    return prompt
  }
}
