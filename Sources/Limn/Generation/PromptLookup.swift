/// Drafts the next tokens: those that followed the last two or three tokens at their latest earlier occurrence, in the
/// prompt or in the answer. Answers often repeat what is there.
///
/// One step computes a whole draft, and every token is still chosen from its own logits, in order, with the same random
/// numbers; whatever follows the first wrong token is discarded. A token's logits do not depend on what is computed
/// beside it, so the answer is the same, token by token, as without drafts.
///
/// https://github.com/apoorvumang/prompt-lookup-decoding
package struct PromptLookup {
  /// Together with the token before it, a draft of this length fills a tile of the matrix products.
  package static let longest = 11
  /// How quickly `trust` follows recent results.
  private static let rate = 0.15

  private struct Match {
    /// The place after the matching tokens.
    let end: Int
    /// How many tokens match: two or three.
    let length: Int
  }

  /// The prompt's text and the answer so far; an image is a single place, which equals no token.
  package private(set) var history: [Int32]
  /// What the next step computes: the latest token, followed by the draft.
  package private(set) var next: [Int32] = []
  private var match: Match?
  /// How much one more token adds to the time of a step, in units of a one-token step.
  private let cost: Double
  /// The probability that a draft's next token is right if those before it are: after two matching tokens, and after
  /// three.
  private var trust = SIMD2(0.3, 0.6)

  /// - Parameters:
  ///   - prompt: text tokens, and −1 for an image.
  ///   - room: how many tokens may follow.
  ///   - cost: how much one more token adds to the time of a step, in units of a one-token step; see
  ///     `CPU.furtherTokenCost`.
  package init(prompt: [Int32], room: Int, cost: Double) {
    history = prompt
    self.cost = cost
    history.reserveCapacity(prompt.count + min(room, 1 << 16))
    next.reserveCapacity(1 + Self.longest)
  }

  /// Decides what the next step computes.
  /// - Parameters:
  ///   - limit: the greatest length of the draft; 0 for none.
  ///   - sequences: how many sequences share the step, this one included.
  package mutating func draft(atMost limit: Int, among sequences: Int) {
    next.removeAll(keepingCapacity: true)
    next.append(history[history.count - 1])
    match = limit > 0 ? lookUp() : nil
    guard let match else { return }
    let count = length(trust: trust[match.length - 2], atMost: min(limit, Self.longest), among: sequences)
    while next.count <= count {
      // Where the text to be repeated ends, the draft repeats itself: "la la la".
      let place = match.end + next.count - 1
      let token = place < history.count ? history[place] : next[1 + place - history.count]
      if token < 0 { break }
      next.append(token)
    }
  }

  /// Takes the token that was chosen after one of the step's tokens. Returns true if it equals the drafted token, so
  /// that the logits after that one are valid, too.
  package mutating func append(_ token: Int32, behind place: Int) -> Bool {
    history.append(token)
    guard let match, place == 0 || place + 1 < next.count else { return false }
    // The first token is checked even if nothing was drafted, to notice when drafts become worthwhile.
    let isRight = token == (place + 1 < next.count ? next[place + 1] : history[match.end])
    trust[match.length - 2] += Self.rate * ((isRight ? 1 : 0) - trust[match.length - 2])
    return isRight && place + 1 < next.count
  }

  /// The latest place where the last three tokens occurred before, else the last two.
  private func lookUp() -> Match? {
    history.withUnsafeBufferPointer { tokens in
      let count = tokens.count
      guard count > 2, tokens[count - 1] >= 0, tokens[count - 2] >= 0 else { return nil }
      let (third, second, last) = (tokens[count - 3], tokens[count - 2], tokens[count - 1])
      var pair: Match?
      var place = count - 2
      while place > 0 {
        if tokens[place] == last, tokens[place - 1] == second {
          if place > 1, third >= 0, tokens[place - 2] == third { return Match(end: place + 1, length: 3) }
          if pair == nil { pair = Match(end: place + 1, length: 2) }
        }
        place -= 1
      }
      return pair
    }
  }

  /// The draft length that gives the most tokens per unit of time if each further token is right with probability
  /// `trust`.
  private func length(trust: Double, atMost limit: Int, among sequences: Int) -> Int {
    let others = Double(sequences - 1)
    var (best, bestSpeed) = (0, (others + 1) / (1 + cost * others))
    var (tokens, likelihood) = (others + 1, 1.0)
    for count in 1...limit {
      likelihood *= trust
      tokens += likelihood
      let speed = tokens / (1 + cost * (others + Double(count)))
      if speed > bestSpeed { (best, bestSpeed) = (count, speed) }
    }
    return best
  }
}
