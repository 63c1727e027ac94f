package import LimnCore
import LimnTensor
package import LimnText

/// A prompt as the engine takes it: token ids, and the places of images' embeddings.
package struct Prompt: Sendable, Equatable {
  package enum Piece: Sendable, Equatable {
    case tokens([Int32])
    /// The image with this index, in the order in which the images were given.
    case image(Int)
  }

  package var pieces: [Piece]

  /// The id that stands for an image in every model, in addition to the model's own image token.
  package static let imagePlaceholder = -200

  /// Text with `<image>` where the images belong.
  ///
  /// If the vocabulary knows the image token, the whole text is tokenised at once. Otherwise (original layout, GGUF)
  /// the pieces of text between images are tokenised one by one, with BOS once at the start.
  /// - Parameters:
  ///   - imageToken: the model's own image token, if it has one.
  ///   - literalMark: was written into special tokens and `<image>` that are data; not part of the text.
  package init(
    text: String, tokenizer: Tokenizer, imageToken: Int?, addSpecial: Bool = true, literalMark: Unicode.Scalar? = nil
  ) {
    let chunks = text.cut(at: ChatTemplate.imageMark)
    if let imageToken, let mark = tokenizer.piece(imageToken), tokenizer.specialIDs.contains(imageToken) {
      let spelled = chunks.joined(separator: mark)
      self.init(
        splitting: tokenizer.encode(spelled, addSpecial: addSpecial, literalMark: literalMark), at: imageToken)
      return
    }
    self.init(splitting: [], at: 0)
    for (index, chunk) in chunks.enumerated() {
      if index > 0 { append(.image(index - 1)) }
      let ids = tokenizer.encode(chunk, addSpecial: addSpecial && index == 0, literalMark: literalMark)
      append(.tokens(ids.map(Int32.init)))
    }
  }

  /// Ids from the model's tokenizer, with one image token per image, or already one per embedding row.
  /// - Parameter imageTokenCounts: the number of rows of each image.
  package init(
    ids: [Int], imageToken: Int?, imageTokenCounts: [Int], vocabulary: Int
  ) throws(LimnError) {
    for id in ids where id != Self.imagePlaceholder && id != imageToken && !(0..<vocabulary).contains(id) {
      throw LimnError(
        .usage, "token id \(id) is not in the vocabulary",
        expected: "0…\(vocabulary - 1), or −200 for a picture")
    }
    var ids = ids.map { $0 == Self.imagePlaceholder ? imageToken ?? $0 : $0 }
    let mark = imageToken ?? Self.imagePlaceholder
    let marks = ids.count { $0 == mark }
    if marks != imageTokenCounts.count, marks == imageTokenCounts.reduce(0, +) {
      ids = try Self.collapse(ids, mark: mark, runs: imageTokenCounts)
    }
    self.init(splitting: ids, at: mark)
  }

  /// Replaces the run of image tokens in an expanded prompt, one per row, by one mark per image.
  private static func collapse(_ ids: [Int], mark: Int, runs: [Int]) throws(LimnError) -> [Int] {
    var result: [Int] = []
    var picture = 0
    var inRun = 0
    for id in ids {
      guard id == mark else {
        guard inRun == 0 else {
          throw LimnError(
            .usage, code: .invalidPrompt, "the image tokens of picture \(picture + 1) are interrupted",
            expected: "\(runs[picture])",
            found: "\(inRun)")
        }
        result.append(id)
        continue
      }
      if inRun == 0 { result.append(mark) }
      inRun += 1
      if inRun == runs[picture] { (picture, inRun) = (picture + 1, 0) }
    }
    return result
  }

  private init(splitting ids: [Int], at mark: Int) {
    pieces = []
    var picture = 0
    var run: [Int32] = []
    for id in ids {
      guard id == mark || id == Self.imagePlaceholder else {
        run.append(Int32(id))
        continue
      }
      append(.tokens(run))
      append(.image(picture))
      picture += 1
      run = []
    }
    append(.tokens(run))
  }

  private mutating func append(_ piece: Piece) {
    if case .tokens(let ids) = piece, ids.isEmpty { return }
    pieces.append(piece)
  }

  package var imageCount: Int {
    pieces.count { if case .image = $0 { true } else { false } }
  }

  /// Refuses an empty prompt, and one whose places do not match the images.
  package func check(images: Int) throws(LimnError) {
    guard imageCount == images else {
      throw LimnError(
        .usage, code: .invalidPrompt,
        "the prompt has \(imageCount) places for pictures, but \(images) pictures were given",
        remedy: "write \(ChatTemplate.imageMark) once for each picture that you give, or leave it out everywhere")
    }
    guard !pieces.isEmpty else {
      throw LimnError(.usage, code: .invalidPrompt, "the prompt is empty", remedy: "ask something")
    }
  }

  /// Refuses ids that the model has no embedding for; they come from another model's tokenizer.
  package func check(vocabulary: Int, in place: String) throws(LimnError) {
    for case .tokens(let ids) in pieces {
      guard let id = ids.first(where: { !(0..<vocabulary).contains(Int($0)) }) else { continue }
      throw .badData(
        code: .modelUnreadable, "the tokenizer gives a token that the model does not know", in: place,
        expected: "ids up to \(vocabulary - 1)", found: "\(id)",
        remedy: "the tokenizer and the weights are of different models; fetch both again")
    }
  }
}
