import LimnText
import Synchronization

/// Turns an engine's tokens into an answer's text: detokenises, looks for the end, and tells who listens.
final class AnswerWriter: Sendable {
  private struct State {
    var detokenizer: StreamingDetokenizer
    var stops: StopMatcher
    var text = ""
    var tokens = 0
    /// Tokens that the engine gave, the end token too.
    var steps = 0
    var ended = false
    var firstToken: ContinuousClock.Instant?
    var lastToken: ContinuousClock.Instant?
    /// Prompt positions that were there before the prompt was computed.
    var reused: Int?
    var drafted = 0
    var accepted = 0
  }

  private let state: Mutex<State>
  private let endIDs: Set<Int32>
  private let report: @Sendable (AnswerEvent) -> Void

  init(
    _ detokenizer: StreamingDetokenizer, stops: [String], endIDs: Set<Int32>,
    _ report: @escaping @Sendable (AnswerEvent) -> Void
  ) {
    state = Mutex(State(detokenizer: detokenizer, stops: StopMatcher(stops)))
    self.endIDs = endIDs
    self.report = report
  }

  /// Takes the engine's next event; false ends the answer.
  func receive(_ event: GenerationJob.Event) -> Bool {
    let (news, goesOn) = state.withLock { state -> (AnswerEvent, Bool) in
      switch event {
      case .prompt(let done, let total):
        if state.reused == nil { state.reused = done }
        return (.reading(done: done, of: total), true)
      case .drafted(let count, let right):
        state.drafted += count
        state.accepted += right
        return (.text(""), true)
      case .token(let id):
        let now = ContinuousClock.now
        if state.firstToken == nil { state.firstToken = now }
        state.lastToken = now
        state.steps += 1
        guard !endIDs.contains(id) else {
          state.ended = true
          return (.text(""), false)
        }
        state.tokens += 1
        let piece = state.stops.append(state.detokenizer.append(Int(id)))
        state.text += piece
        state.ended = state.stops.isStopped
        return (.text(piece), !state.ended)
      }
    }
    if case .text("") = news {} else { report(news) }
    return goesOn
  }

  /// The whole answer; tells the rest of the text that was held back.
  func answer(
    prompt: PromptInputs, started: ContinuousClock.Instant, encoded: ContinuousClock.Instant
  ) -> Answer {
    let (answer, rest) = state.withLock { state -> (Answer, String) in
      var rest = ""
      if !state.stops.isStopped {
        rest = state.stops.append(state.detokenizer.finish())
        if !state.stops.isStopped { rest += state.stops.finish() }
        state.text += rest
      }
      let first = state.firstToken ?? encoded
      var timings = Answer.Timings()
      timings.prompt = (first - encoded).milliseconds
      timings.firstToken = (first - started).milliseconds
      timings.predicted = ((state.lastToken ?? first) - first).milliseconds
      timings.predictedTokens = max(0, state.steps - 1)
      timings.promptComputed = prompt.count - (state.reused ?? 0)
      (timings.drafted, timings.accepted) = (state.drafted, state.accepted)
      let usage = Answer.Usage(
        promptTokens: prompt.count, imageTokens: prompt.imageCount, completionTokens: state.tokens)
      return (
        Answer(
          text: state.text, finishReason: state.ended ? .stop : .length, usage: usage, timings: timings), rest
      )
    }
    if !rest.isEmpty { report(.text(rest)) }
    return answer
  }
}
