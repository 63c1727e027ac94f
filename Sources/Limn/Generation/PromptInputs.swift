import LimnTensor

/// A prompt with its images encoded: the language model's input, position by position.
package struct PromptInputs: Sendable {
  /// A stretch of positions.
  private enum Run: Sendable {
    case tokens([Int32])
    /// Some rows of an image's embeddings.
    case image(ImageEmbedding, Range<Int>)

    var count: Int {
      switch self {
      case .tokens(let ids): ids.count
      case .image(_, let rows): rows.count
      }
    }

    func part(_ range: Range<Int>) -> Run {
      switch self {
      case .tokens(let ids): .tokens(Array(ids[range]))
      case .image(let image, let rows):
        .image(image, rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound)
      }
    }
  }

  /// What a position holds, used to find out how much two prompts share.
  package enum Key: Hashable, Sendable {
    case token(Int32)
    case image(ImageKey, row: Int)
  }

  private var runs: [Run] = []
  package private(set) var count = 0

  package init(tokens: [Int32]) { append(.tokens(tokens)) }

  /// - Parameter images: one for each place in the prompt.
  package init(_ prompt: Prompt, images: [ImageEmbedding]) {
    for piece in prompt.pieces {
      switch piece {
      case .tokens(let ids): append(.tokens(ids))
      case .image(let index): append(.image(images[index], 0..<images[index].rows))
      }
    }
  }

  mutating func append(tokens: [Int32]) { append(.tokens(tokens)) }

  /// All rows of an image.
  mutating func append(_ image: ImageEmbedding) { append(.image(image, 0..<image.rows)) }

  private mutating func append(_ run: Run) {
    guard run.count > 0 else { return }
    runs.append(run)
    count += run.count
  }

  /// The text tokens, in order.
  package var tokens: [Int32] {
    runs.flatMap { run -> [Int32] in if case .tokens(let ids) = run { ids } else { [] } }
  }

  /// The text tokens, in order, and −1 for an image.
  var marked: [Int32] {
    runs.flatMap { run -> [Int32] in if case .tokens(let ids) = run { ids } else { [-1] } }
  }

  /// How many positions belong to images.
  package var imageCount: Int {
    runs.reduce(0) { if case .image(_, let rows) = $1 { $0 + rows.count } else { $0 } }
  }

  /// The positions that belong to images.
  package var imagePositions: [Int] {
    keys.indices.filter { if case .image = keys[$0] { true } else { false } }
  }

  package var keys: [Key] {
    runs.flatMap { run -> [Key] in
      switch run {
      case .tokens(let ids): ids.map(Key.token)
      case .image(let image, let rows): rows.map { .image(image.key, row: $0) }
      }
    }
  }

  /// Writes the embeddings of some positions to x [part.count, hidden], on the backend of the model's tables.
  func write(_ part: Range<Int>, into x: Activations, _ model: any LanguageModel) {
    var start = 0
    for run in runs {
      let (from, to) = (max(part.lowerBound - start, 0), min(part.upperBound - start, run.count))
      if from < to {
        let first = start + from - part.lowerBound
        let target = x.rows(first..<first + to - from)
        switch run {
        case .tokens(let ids):
          ids.withUnsafeBufferPointer { model.embed(UnsafeBufferPointer(rebasing: $0[from..<to]), into: target) }
        case .image(let image, let rows):
          let values = (rows.lowerBound + from) * x.width..<(rows.lowerBound + to) * x.width
          image.values.withUnsafeBufferPointer {
            model.placement.backends[model.placement.tables].write(
              UnsafeBufferPointer(rebasing: $0[values]), to: target)
          }
        }
      }
      start += run.count
      if start >= part.upperBound { break }
    }
  }

  /// Removes text tokens from the middle until `limit` positions are left. Images stay, and so do the beginning, with
  /// the system prompt, and the end, with the last words of the question.
  /// - Returns: nil if the prompt is too long even without any of that text.
  package func truncatingMiddle(to limit: Int) -> PromptInputs? {
    guard count > limit else { return self }
    let excess = count - limit
    let texts = runs.enumerated().filter { if case .tokens = $0.element { true } else { false } }
    guard let longest = texts.max(by: { $0.element.count < $1.element.count }) else { return nil }
    // At each end, at least a few tokens of the longest text stay.
    let length = longest.element.count
    let kept = length - excess
    guard kept >= 2, kept * 2 >= min(length, 8) else { return nil }
    let head = (kept + 1) / 2
    var result = PromptInputs(tokens: [])
    for (index, run) in runs.enumerated() {
      if index == longest.offset {
        result.append(run.part(0..<head))
        result.append(run.part(head + excess..<length))
      } else {
        result.append(run)
      }
    }
    return result
  }
}
