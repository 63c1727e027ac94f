import LimnTensor

/// A prompt with its pictures encoded: what the language model is fed, position by position.
package struct PromptInputs: Sendable {
  /// A stretch of positions.
  private enum Run: Sendable {
    case tokens([Int32])
    /// Some rows of a picture's embeddings.
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

  /// What stands at one position, for finding out how much two prompts share.
  package enum Key: Hashable, Sendable {
    case token(Int32)
    case image(ObjectIdentifier, row: Int)
  }

  private var runs: [Run] = []
  package private(set) var count = 0

  package init(tokens: [Int32]) { append(.tokens(tokens)) }

  /// - Parameter images: one per place of the prompt.
  package init(_ prompt: Prompt, images: [ImageEmbedding]) {
    for piece in prompt.pieces {
      switch piece {
      case .tokens(let ids): append(.tokens(ids))
      case .image(let index): append(.image(images[index], 0..<images[index].rows))
      }
    }
  }

  private mutating func append(_ run: Run) {
    guard run.count > 0 else { return }
    runs.append(run)
    count += run.count
  }

  /// The positions from `first` on, no more than `limit` of them.
  package func part(from first: Int, atMost limit: Int) -> PromptInputs {
    var result = PromptInputs(tokens: [])
    var start = 0
    for run in runs {
      let (from, to) = (max(first - start, 0), min(run.count, first + limit - start))
      if from < to { result.append(run.part(from..<to)) }
      start += run.count
      if start >= first + limit { break }
    }
    return result
  }

  /// The text tokens, in order.
  package var tokens: [Int32] {
    runs.flatMap { run -> [Int32] in if case .tokens(let ids) = run { ids } else { [] } }
  }

  /// How many positions belong to pictures.
  package var imageCount: Int {
    runs.reduce(0) { if case .image(_, let rows) = $1 { $0 + rows.count } else { $0 } }
  }

  package var keys: [Key] {
    runs.flatMap { run -> [Key] in
      switch run {
      case .tokens(let ids): ids.map(Key.token)
      case .image(let image, let rows): rows.map { .image(ObjectIdentifier(image), row: $0) }
      }
    }
  }

  /// The pictures, which must live as long as their keys are compared.
  package var images: [ImageEmbedding] {
    runs.compactMap { run -> ImageEmbedding? in if case .image(let image, _) = run { image } else { nil } }
  }

  /// The embeddings of all positions, into x [count, hidden].
  func write(into x: Activations, _ language: any LanguageModel, _ backend: any Backend) {
    var row = 0
    for run in runs {
      let target = x.rows(row..<row + run.count)
      switch run {
      case .tokens(let ids): language.embed(ids, into: target, backend)
      case .image(let image, let rows):
        target.pointer.update(
          from: image.values.baseAddress! + rows.lowerBound * x.width, count: rows.count * x.width)
      }
      row += run.count
    }
  }

  /// Takes text tokens out of the middle until `limit` positions are left; pictures stay, and so do the
  /// beginning, with the system text, and the end, with the question's last words.
  /// - Returns: nil if even without all text of the middle it does not fit.
  package func truncatingMiddle(to limit: Int) -> PromptInputs? {
    guard count > limit else { return self }
    let excess = count - limit
    let texts = runs.enumerated().filter { if case .tokens = $0.element { true } else { false } }
    guard let longest = texts.max(by: { $0.element.count < $1.element.count }) else { return nil }
    // A few tokens of the longest text stay at each end at least.
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

/// The keys and values of a conversation between its turns: the next prompt is only computed from where it
/// differs from what is already there.
// @unchecked: only the engine calls it, and the engine runs one thing at a time.
package final class ConversationMemory: @unchecked Sendable {
  private var cache: KVCache?
  private var keys: [PromptInputs.Key] = []
  private var images: [ImageEmbedding] = []

  package init() {}

  /// A cache of at least this capacity which holds the longest shared beginning; one position is always left
  /// to compute, because its logits are needed.
  func cache(for prompt: PromptInputs, capacity: Int, make: (Int) -> KVCache) -> KVCache {
    guard let cache, cache.capacity >= capacity else { return make(capacity) }
    let shared = zip(keys, prompt.keys).prefix { $0 == $1 }.count
    cache.count = min(shared, cache.count, prompt.count - 1)
    return cache
  }

  func remember(_ prompt: PromptInputs, generated: [Int32], _ cache: KVCache) {
    self.cache = cache
    keys = prompt.keys + generated.map(PromptInputs.Key.token)
    images = prompt.images
  }
}
