import LimnCore
import LimnFiles
import LimnText

extension VisionLanguageModel {
  /// A request's prompt, tokenised.
  package func prompt(_ request: Request) throws(LimnError) -> Prompt {
    let imageToken = checkpoint.config.imageTokenID
    let prompt: Prompt
    switch request.prompt {
    case .raw(var text, let images):
      if text.cut(at: ChatTemplate.imageMark).count == 1 {
        text = String(repeating: ChatTemplate.imageMark + "\n", count: images.count) + text
      }
      prompt = try Prompt(text: text, tokenizer: tokenizer, imageToken: imageToken)
    case .messages(var messages):
      // A model may write the mark as well as anything else, but has no pictures.
      for index in messages.indices where messages[index].role == .assistant {
        messages[index].parts = messages[index].parts.map { part in
          guard case .text(var text) = part else { return part }
          // Again, since what is left may be a mark.
          while text.contains(ChatTemplate.imageMark) { text.replace(ChatTemplate.imageMark, with: "") }
          return .text(text)
        }
      }
      let text = try conversation.render(messages)
      // A template that writes BOS itself has written all that the tokenizer would add.
      let begins = tokenizer.bosToken.map { text.utf8.starts(with: $0.utf8) } ?? false
      prompt = try Prompt(text: text, tokenizer: tokenizer, imageToken: imageToken, addSpecial: !begins)
    }
    try prompt.check(vocabulary: vocabularySize, in: checkpoint.reference)
    return prompt
  }
}
