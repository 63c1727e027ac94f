import LimnCore
import LimnText

/// Turns a sequence's tokens into an answer's text: detokenises, looks for stop texts, and keeps statistics.
struct AnswerWriter {
  private var detokenizer: StreamingDetokenizer
  private var stops: StopMatcher
  private let endIDs: Set<Int32>
  private var text = ""
  private var tokens = 0
  /// Tokens that the engine produced, the end token included.
  private var steps = 0
  private var ended = false
  private var firstToken: ContinuousClock.Instant?
  private var lastToken: ContinuousClock.Instant?
  /// Prompt positions that were already in the cache.
  private var reused: Int?
  private var drafted = 0
  private var accepted = 0

  init(_ detokenizer: StreamingDetokenizer, stops: [String], endIDs: Set<Int32>) {
    self.detokenizer = detokenizer
    self.stops = StopMatcher(stops)
    self.endIDs = endIDs
  }

  /// Whether a stop text was found; whatever the sequence generates afterwards is ignored.
  var isStopped: Bool { stops.isStopped }

  /// Takes the sequence's next event.
  /// - Returns: what there is to report, or nil.
  mutating func receive(_ event: SequenceEvent) -> AnswerEvent? {
    if isStopped { return nil }
    switch event {
    case .prefill(let done, let total):
      if reused == nil { reused = done }
      return .reading(done: done, of: total)
    case .drafted(let count, let right):
      drafted += count
      accepted += right
      return nil
    case .choices(let choices, let time):
      var piece = ""
      for choice in choices where !isStopped && !ended {
        if firstToken == nil { firstToken = time }
        lastToken = time
        steps += 1
        ended = endIDs.contains(choice.id)
        if ended { break }
        tokens += 1
        piece += stops.append(detokenizer.append(Int(choice.id)))
      }
      text += piece
      ended = ended || stops.isStopped
      return piece.isEmpty ? nil : .text(piece)
    case .ended: return nil
    }
  }

  /// The text held back as a possible beginning of a stop text; empty if a stop text was found.
  mutating func rest() -> String {
    guard !stops.isStopped else { return "" }
    var rest = stops.append(detokenizer.finish())
    if !stops.isStopped { rest += stops.finish() }
    text += rest
    return rest
  }

  /// The whole answer. Call it after `rest`.
  func answer(
    prompt: PromptInputs, started: ContinuousClock.Instant, encoded: ContinuousClock.Instant
  ) -> Answer {
    let first = firstToken ?? encoded
    var timings = Answer.Timings()
    timings.prompt = (first - encoded).milliseconds
    timings.firstToken = (first - started).milliseconds
    timings.predicted = ((lastToken ?? first) - first).milliseconds
    timings.predictedTokens = max(0, steps - 1)
    timings.promptComputed = prompt.count - (reused ?? 0)
    (timings.drafted, timings.accepted) = (drafted, accepted)
    let usage = Answer.Usage(
      promptTokens: prompt.count, imageTokens: prompt.imageCount, completionTokens: tokens)
    return Answer(text: text, finishReason: ended ? .stop : .length, usage: usage, timings: timings)
  }
}
