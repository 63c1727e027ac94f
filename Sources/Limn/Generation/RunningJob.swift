import LimnCore
import LimnTensor
import Synchronization

/// A sequence under way: its cache, what was said, and what it wants from the next step.
// Not Sendable: it lives in the engine's actor.
final class RunningJob {
  let job: GenerationJob
  let cache: KVCache
  let request: Request
  private var sampler: Sampler
  private var lookup: PromptLookup
  private var generated = 0
  private let guesses: Bool
  private(set) var isFinished = false
  private var isStopped = false
  /// Why it cannot go on.
  private(set) var failure: LimnError?

  /// - Parameters:
  ///   - cache: may hold the beginning of the prompt.
  ///   - draftCost: what a guessed token adds to the time of a step, in steps of one token; nil where the model does not
  ///     allow to guess ahead.
  init(_ job: GenerationJob, _ cache: KVCache, _ request: Request, draftCost: Double?) {
    self.job = job
    self.cache = cache
    self.request = request
    guesses = draftCost != nil && job.speculation
    sampler = Sampler(job.sampling, prompt: job.prompt.tokens)
    lookup = PromptLookup(prompt: job.prompt.marked, room: job.maxTokens, cost: draftCost ?? 1)
    tellProgress()
  }

  var isOver: Bool { isFinished || isStopped || failure != nil }

  /// Takes notice of who does not want to wait any longer.
  func obeyStop() { isStopped = isStopped || request.stop.isRaised }

  private var promptLeft: Int { job.prompt.count - cache.count }
  var isReading: Bool { promptLeft > 0 }

  /// What the cache holds when the sequence is over, position by position.
  var keys: [PromptInputs.Key] {
    job.prompt.keys + lookup.history.suffix(generated).map(PromptInputs.Key.token)
  }

  /// Its part of the next step.
  /// - Parameters:
  ///   - limit: rows that the step has left.
  ///   - sequences: how many share the step.
  func nextChunk(atMost limit: Int, among sequences: Int) -> Chunk {
    if isReading {
      let part = cache.count..<cache.count + min(limit, promptLeft)
      return Chunk(
        cache: cache, input: .prompt(job.prompt, part), count: part.count, expectedLength: job.prompt.count,
        wanted: part.count == promptLeft ? 1 : 0, job: self)
    }
    // The last token is never computed, only said.
    let room = min(limit - 1, job.maxTokens - generated - 1)
    lookup.draft(atMost: guesses ? max(0, room) : 0, among: sequences)
    let count = lookup.next.count
    return Chunk(
      cache: cache, input: .answer, count: count, expectedLength: cache.count + count, wanted: count,
      job: self)
  }

  /// The tokens of its part of a step, when it is answering.
  func withTokens(_ body: (UnsafeBufferPointer<Int32>) -> Void) { lookup.next.withUnsafeBufferPointer(body) }

  /// Chooses tokens from the logits of the step that was made [wanted, vocabulary], as far as the guess was
  /// right, and asks whoever listens whether to go on.
  func take(_ logits: Activations) {
    guard logits.rows > 0 else { return tellProgress() }
    if generated == 0 { tellProgress() }
    var row = 0
    while true {
      let scores = UnsafeMutableBufferPointer(start: logits.pointer + row * logits.width, count: logits.width)
      let chosen = sampler.next(scores)
      // What is no number in a layer's weight reaches all logits of all positions.
      if scores[Int(chosen)].isNaN {
        failure = LimnError(
          .badData, "the model's results are no numbers",
          remedy: "check its files: a weight is damaged, or too large for the type that holds it")
        return
      }
      let token = generated < job.script.count ? job.script[generated] : chosen
      let wasDrafted = lookup.append(token, behind: row)
      generated += 1
      isFinished = !job.receive(.token(token)) || generated >= job.maxTokens
      if isFinished || !wasDrafted { break }
      row += 1
    }
    // Keys and values of wrong guesses are written over.
    cache.count -= logits.rows - 1 - row
    if logits.rows > 1 { _ = job.receive(.drafted(logits.rows - 1, right: row)) }
  }

  private func tellProgress() { _ = job.receive(.prompt(done: cache.count, of: job.prompt.count)) }
}

/// Sequences that were asked for together, and who waits for them.
// Not Sendable: it lives in the engine's actor, but for its stop sign.
final class Request {
  let stop: StopSign
  private var left: Int
  private var failure: LimnError?
  private let continuation: CheckedContinuation<LimnError?, Never>

  /// - Parameter continuation: is told at the end what went wrong first; nil where all sequences ended by themselves.
  init(_ stop: StopSign, _ sequences: Int, _ continuation: CheckedContinuation<LimnError?, Never>) {
    self.stop = stop
    left = sequences
    self.continuation = continuation
  }

  /// One of the sequences is over, by itself or by a failure, after which the others are of no use.
  func endOne(_ failure: LimnError?) {
    left -= 1
    self.failure = self.failure ?? failure
    if failure != nil { stop.raise() }
    if left == 0 { continuation.resume(returning: self.failure) }
  }
}

/// Raised from anywhere, seen by the engine before its next step.
final class StopSign: Sendable {
  private let state = Atomic<Bool>(false)

  var isRaised: Bool { state.load(ordering: .relaxed) }
  func raise() { state.store(true, ordering: .relaxed) }
}

/// One sequence's part of a step.
struct Chunk {
  enum Input {
    /// Some positions of a prompt.
    case prompt(PromptInputs, Range<Int>)
    /// The tokens that the job has ready.
    case answer
  }

  let cache: KVCache
  let input: Input
  /// Rows that it takes.
  let count: Int
  let expectedLength: Int
  /// How many of its last rows need logits.
  let wanted: Int
  /// Nil where only logits are asked for.
  let job: RunningJob?
}
