import LimnCore
import LimnText

/// Turns a sequence's tokens into an answer's text: detokenises, looks for stop texts, and keeps statistics.
struct AnswerWriter {
  private let tokenizer: Tokenizer
  private var detokenizer: StreamingDetokenizer
  private var stops: StopMatcher
  /// Stop texts of the chat template, which nobody asked for.
  private let ownStops: [String]
  private let endIDs: Set<Int32>
  private var logprobs: [TokenLogprob] = []
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

  /// - Parameters:
  ///   - stops: texts that the request names.
  ///   - ownStops: texts that end an answer because of the chat template.
  init(_ tokenizer: Tokenizer, stops: [String], ownStops: [String], endIDs: Set<Int32>) {
    self.tokenizer = tokenizer
    detokenizer = StreamingDetokenizer(tokenizer, skipSpecial: true)
    self.stops = StopMatcher(stops + ownStops)
    self.ownStops = ownStops.filter { !stops.contains($0) }
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
        if let logprob = choice.logprob { logprobs.append(described(choice, logprob)) }
        piece += stops.append(detokenizer.append(Int(choice.id)))
      }
      text += piece
      ended = ended || stops.isStopped
      return piece.isEmpty ? nil : .text(piece)
    case .ended: return nil
    }
  }

  /// The tokens since the last call with their log-probabilities, if those were asked for.
  mutating func takeLogprobs() -> [TokenLogprob] {
    defer { logprobs = [] }
    return logprobs
  }

  private func described(_ choice: Choice, _ logprob: Float) -> TokenLogprob {
    func described(_ id: Int32, _ logprob: Float) -> TokenLogprob.Alternative {
      // What special tokens stand for is not part of the text.
      let bytes = tokenizer.specialIDs.contains(Int(id)) ? [] : tokenizer.bytes(of: Int(id)) ?? []
      let text = bytes.isEmpty ? tokenizer.piece(Int(id)) ?? "" : String(decoding: bytes, as: UTF8.self)
      return .init(id: Int(id), text: text, bytes: bytes, logprob: min(0, Double(logprob)))
    }
    return TokenLogprob(
      chosen: described(choice.id, logprob), top: choice.alternatives.map { described($0.id, $0.logprob) })
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
    let stop = stops.found.flatMap { ownStops.contains($0) ? nil : $0 }
    return Answer(
      text: text, finishReason: ended ? .stop : .length, stop: stop, usage: usage, timings: timings)
  }
}
