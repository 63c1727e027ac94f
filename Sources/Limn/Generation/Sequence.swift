import LimnCore
import LimnTensor

/// A running sequence: its cache, its tokens so far, and what it needs from the next step.
// Not Sendable: it lives in the engine's actor.
final class Sequence {
  enum State {
    /// Its prompt begins like that of another sequence, which is computing that beginning: this many positions are
    /// copied from there once they are done.
    case following(Sequence, positions: Int)
    case prefill
    /// Part of its prompt is in a running pass.
    case inPass
    case decode
  }

  let request: SequenceRequest
  private(set) var cache: KVCache
  var state: State
  private let stop: StopSign
  private let events: AsyncStream<SequenceEvent>.Continuation
  private var sampler: Sampler
  private var lookup: PromptLookup
  private var generated = 0
  private let drafts: Bool
  private(set) var ending: SequenceEnding?
  /// When it was admitted, by the engine's clock in seconds; decides its turn among others.
  let admitted: Double

  /// - Parameters:
  ///   - cache: may already hold the beginning of the prompt.
  ///   - draftCost: how much a drafted token adds to the time of a step, in units of a one-token step; nil if the model
  ///     does not allow drafts.
  init(
    _ request: SequenceRequest, _ cache: KVCache, state: State, stop: StopSign,
    events: AsyncStream<SequenceEvent>.Continuation, admitted: Double, draftCost: Double?
  ) {
    self.request = request
    self.cache = cache
    self.state = state
    self.stop = stop
    self.events = events
    self.admitted = admitted
    drafts = draftCost != nil && request.speculation
    sampler = Sampler(
      request.sampling, prompt: request.prompt.tokens, processors: request.processors,
      alternatives: request.alternatives)
    lookup = PromptLookup(prompt: request.prompt.marked, room: request.maxTokens, cost: draftCost ?? 1)
    if case .prefill = state { reportProgress() }
  }

  var isStopRaised: Bool { ending == nil && stop.isRaised }

  /// Checks whether its stop sign was raised.
  func obeyStop() { if ending == nil, stop.isRaised { ending = .cancelled } }

  /// Reports how it ended, and closes its events.
  func finish() {
    events.yield(.ended(ending ?? .cancelled))
    events.finish()
  }

  var promptLeft: Int { request.prompt.count - cache.count }

  /// What each position of the cache holds.
  var keys: [PromptInputs.Key] {
    request.prompt.keys + lookup.history.suffix(generated).map(PromptInputs.Key.token)
  }

  /// Starts prefill after positions were copied into its cache.
  func begin() {
    state = .prefill
    reportProgress()
  }

  /// The next part of its prompt, of at most `limit` rows.
  func prefillChunk(atMost limit: Int) -> Chunk {
    let part = cache.count..<cache.count + min(limit, promptLeft)
    return Chunk(
      sequence: self, cache: cache, input: .prompt(request.prompt, part), count: part.count,
      expectedLength: request.prompt.count, wanted: part.count == promptLeft ? 1 : 0, adapters: request.adapters)
  }

  /// Its latest token, followed by a draft.
  /// - Parameters:
  ///   - limit: how many rows the step has left, at least 1.
  ///   - sequences: how many sequences share the step.
  func decodeChunk(atMost limit: Int, among sequences: Int) -> Chunk {
    // The last token is reported, but never computed.
    let room = min(limit - 1, request.maxTokens - generated - 1)
    lookup.draft(atMost: drafts ? max(0, room) : 0, among: sequences)
    let count = lookup.next.count
    return Chunk(
      sequence: self, cache: cache, input: .decode, count: count, expectedLength: cache.count + count, wanted: count,
      adapters: request.adapters)
  }

  /// The tokens of its decode chunk.
  func withTokens(_ body: (UnsafeBufferPointer<Int32>) -> Void) { lookup.next.withUnsafeBufferPointer(body) }

  /// Takes the results of a step whose rows are in its cache: chooses tokens from the logits [rows][vocabulary] as long
  /// as the draft is right.
  func take(_ logits: UnsafeMutableBufferPointer<Float>, rows: Int) {
    guard rows > 0 else {
      state = .prefill
      return reportProgress()
    }
    if generated == 0 { reportProgress() }
    state = .decode
    let vocabulary = logits.count / rows
    var chosen: [Choice] = []
    var row = 0
    while true {
      let scores = UnsafeMutableBufferPointer(rebasing: logits[row * vocabulary..<(row + 1) * vocabulary])
      var choice = sampler.next(scores)
      // A NaN in a layer's weight spreads to all logits of all positions.
      if scores[Int(choice.id)].isNaN {
        ending = .failed(
          LimnError(
            .badData, code: .modelUnreadable, "the model's results are NaN",
            remedy: "check its files: a weight is damaged, or too large for the type that holds it"))
        return
      }
      if generated < request.script.count { choice = Choice(id: request.script[generated]) }
      chosen.append(choice)
      let wasDrafted = lookup.append(choice.id, behind: row)
      generated += 1
      if request.endIDs.contains(choice.id) {
        ending = .stop
      } else if generated >= request.maxTokens {
        ending = .length
      }
      if ending != nil || !wasDrafted { break }
      row += 1
    }
    // Later tokens overwrite the keys and values of wrong drafts.
    cache.count -= rows - 1 - row
    events.yield(.choices(chosen, at: .now))
    if rows > 1 { events.yield(.drafted(rows - 1, accepted: row)) }
  }

  private func reportProgress() { events.yield(.prefill(done: cache.count, of: request.prompt.count)) }
}

/// One sequence's part of a step.
struct Chunk {
  enum Input {
    /// Some positions of a prompt.
    case prompt(PromptInputs, Range<Int>)
    /// The sequence's latest token and its draft.
    case decode
  }

  /// Nil if only logits are requested.
  let sequence: Sequence?
  let cache: KVCache
  let input: Input
  /// How many rows it takes.
  let count: Int
  let expectedLength: Int
  /// How many of its last rows need logits.
  let wanted: Int
  /// The adapters that the sequence uses.
  let adapters: [Int]
}
