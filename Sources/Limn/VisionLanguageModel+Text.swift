package import LimnCore
import LimnText

extension VisionLanguageModel {
  /// The tokens of a text with their bytes.
  package func tokens(of text: String, addSpecial: Bool) -> [(id: Int, bytes: [UInt8])] {
    var bytes = Array(text.utf8)[...]
    return tokenizer.encode(text, addSpecial: addSpecial).map { id in
      guard !tokenizer.specialIDs.contains(id) || bytes.starts(with: (tokenizer.piece(id) ?? "").utf8) else {
        return (id, [])
      }
      var piece =
        tokenizer.specialIDs.contains(id) ? Array((tokenizer.piece(id) ?? "").utf8) : tokenizer.bytes(of: id) ?? []
      // Some vocabularies write a space before the first word, which is not in the text.
      if !bytes.starts(with: piece), piece.first == 0x20, bytes.starts(with: piece.dropFirst()) { piece.removeFirst() }
      bytes = bytes.dropFirst(piece.count)
      return (id, piece)
    }
  }

  /// - Throws: `usage` for an id that is not in the vocabulary.
  package func text(of ids: [Int]) throws(LimnError) -> String {
    if let id = ids.first(where: { !(0..<vocabularySize).contains($0) }) {
      throw LimnError(
        .usage, "token id \(id) is not in the vocabulary", expected: "0…\(vocabularySize - 1)")
    }
    return tokenizer.decode(ids)
  }

  /// The prompt text of a conversation, `<image>` where its pictures stand.
  package func promptText(of messages: [ChatMessage]) throws(LimnError) -> String {
    try conversation.prompt(messages, literalMark: nil)
  }
}
