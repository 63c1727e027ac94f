/// Guesses the tokens that come next: what followed the latest two or three the last time that they stood
/// together, in the prompt or in the answer. Answers repeat what is there.
///
/// One step computes a whole guess, and every token is still chosen from its own logits, in order, with the
/// same random numbers; what is behind the first wrong one is thrown away. So an answer is, token by token, the
/// one that is given without guessing, for a token's logits do not depend on what is computed beside it.
///
/// https://github.com/apoorvumang/prompt-lookup-decoding
package struct PromptLookup {
  /// With the token before it, a guess of this length fills a tile of the matrix products.
  package static let longest = 11
  /// How fast trust follows what is seen.
  private static let rate = 0.15

  private struct Match {
    /// The place behind the tokens that were found.
    let end: Int
    /// Two or three.
    let length: Int
  }

  /// The prompt's text and the answer so far; a picture is one place, which equals no token.
  package private(set) var history: [Int32]
  /// What the next step computes: the latest token, then the guess at what follows it.
  package private(set) var next: [Int32] = []
  private var match: Match?
  /// What a further token adds to the time of a step, in steps of one token.
  private let cost: Double
  /// How likely a guess's next token is right if those before it are, after two matching tokens and after three.
  private var trust = SIMD2(0.3, 0.6)

  /// - Parameters:
  ///   - prompt: text tokens, and −1 where a picture stands.
  ///   - room: how many tokens may follow.
  ///   - cost: what a further token adds to the time of a step, in steps of one token; `CPU.furtherTokenCost`.
  package init(prompt: [Int32], room: Int, cost: Double) {
    history = prompt
    self.cost = cost
    history.reserveCapacity(prompt.count + min(room, 1 << 16))
    next.reserveCapacity(1 + Self.longest)
  }

  /// Decides what the next step computes.
  /// - Parameters:
  ///   - limit: the longest guess; 0 for none.
  ///   - sequences: how many share the step, this one included.
  package mutating func draft(atMost limit: Int, among sequences: Int) {
    next.removeAll(keepingCapacity: true)
    next.append(history[history.count - 1])
    match = limit > 0 ? lookUp() : nil
    guard let match else { return }
    let count = length(trust: trust[match.length - 2], atMost: min(limit, Self.longest), among: sequences)
    while next.count <= count {
      // Where the text to be repeated ends, it goes on with the guess itself: "la la la".
      let place = match.end + next.count - 1
      let token = place < history.count ? history[place] : next[1 + place - history.count]
      if token < 0 { break }
      next.append(token)
    }
  }

  /// Takes the token that was chosen behind one of the step's; true where it is the guessed one, so that the
  /// logits behind it count, too.
  package mutating func append(_ token: Int32, behind place: Int) -> Bool {
    history.append(token)
    guard let match, place == 0 || place + 1 < next.count else { return false }
    // The first token is looked up even where no guess is tried, to notice when guesses become worth trying.
    let isRight = token == (place + 1 < next.count ? next[place + 1] : history[match.end])
    trust[match.length - 2] += Self.rate * ((isRight ? 1 : 0) - trust[match.length - 2])
    return isRight && place + 1 < next.count
  }

  /// The latest place where the last three tokens stood before, else the last two.
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

  /// The length that gives the most tokens per time, if each further token is right with probability `trust`.
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
