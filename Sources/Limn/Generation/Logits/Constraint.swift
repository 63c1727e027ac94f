import LimnCore
import LimnGrammar
import LimnText
import Synchronization

/// Lets an answer be only what a grammar allows: tokens that lead elsewhere are forbidden, and the answer may end only
/// where the text is whole.
struct Constraint: LogitsProcessor {
  private let matcher: GrammarMatcher
  private let endIDs: Set<Int32>
  private var state: GrammarMatcher.State

  init(_ matcher: GrammarMatcher, endIDs: Set<Int32>) {
    self.matcher = matcher
    self.endIDs = endIDs
    state = matcher.start
  }

  func process(_ logits: UnsafeMutableBufferPointer<Float>) {
    let ends = matcher.isAccepting(state) ? endIDs.filter { logits.indices.contains(Int($0)) } : []
    let kept = ends.map { ($0, logits[Int($0)]) }
    let mask = matcher.mask(state)
    // A vocabulary that cannot spell what has to come: no answer is better than a wrong one.
    if mask.isEmpty, ends.isEmpty { return logits.update(repeating: .nan) }
    mask.apply(to: logits)
    for (id, logit) in kept { logits[Int(id)] = logit }
  }

  mutating func accepted(_ id: Int32) {
    guard !endIDs.contains(id), let next = matcher.state(afterToken: id, from: state) else { return }
    state = next
  }
}

/// A model's constraints: its vocabulary as a tree, and what was found about the schemas that were used last.
final class ConstraintStore: Sendable {
  fileprivate struct Kept {
    var tokens: TokenTrie?
    /// The latest last.
    var matchers: [(format: AnswerFormat, matcher: GrammarMatcher)] = []
  }

  private let tokenizer: Tokenizer
  private let kept = Mutex(Kept())

  /// How many schemas are kept, and of how many states at most.
  private static let (schemaLimit, stateLimit) = (16, 50_000)

  init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

  /// - Returns: nil if any text will do.
  /// - Throws: `invalidSchema`.
  func matcher(for format: AnswerFormat) throws(LimnError) -> GrammarMatcher? {
    let grammar: Grammar
    if let known = kept.withLock({ $0.take(format, below: Self.stateLimit) }) { return known }
    switch format {
    case .text: return nil
    case .jsonObject: grammar = try Grammar.object()
    case .json(let schema):
      do throws(LimnError) {
        grammar = try Grammar(schema: try JSON.parse(schema, place: "the schema"))
      } catch {
        throw error.recoded([.badData: .invalidSchema])
      }
    }
    return kept.withLock { kept in
      let tokens = kept.tokens ?? TokenTrie((0..<tokenizer.vocabularySize).map { tokenizer.bytes(of: $0) })
      kept.tokens = tokens
      let matcher = GrammarMatcher(grammar, tokens: tokens)
      kept.matchers.append((format, matcher))
      if kept.matchers.count > Self.schemaLimit { kept.matchers.removeFirst() }
      return matcher
    }
  }
}

extension ConstraintStore.Kept {
  /// A known matcher, which becomes the latest; one that has grown large is forgotten.
  fileprivate mutating func take(_ format: AnswerFormat, below limit: Int) -> GrammarMatcher? {
    guard let index = matchers.firstIndex(where: { $0.format.isSame(as: format) }) else { return nil }
    let known = matchers.remove(at: index)
    guard known.matcher.stateCount < limit else { return nil }
    matchers.append(known)
    return known.matcher
  }
}

extension AnswerFormat {
  /// Strings that look alike are different property names, so schemas are compared byte for byte.
  fileprivate func isSame(as other: AnswerFormat) -> Bool {
    switch (self, other) {
    case (.text, .text), (.jsonObject, .jsonObject): true
    case (.json(let a), .json(let b)): ExactString(a) == ExactString(b)
    default: false
    }
  }
}
