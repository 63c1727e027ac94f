import Limn
import LimnCore

/// A job that is being worked on. Its events are read once.
struct AnswerRun: Sendable {
  let events: AsyncThrowingStream<AnswerRunEvent, any Error>
  private let task: Task<Void, Never>
  private let beginning: AsyncStream<Result<Void, Refusal>>

  /// How long a request that may yet be refused with a status of its own is kept without a head.
  private static let patience = Duration.seconds(5)
  /// Between two ticks: proxies cut connections that are silent for longer.
  private static let tick = Duration.seconds(10)

  init(
    _ work: @escaping @Sendable (@escaping @Sendable (AnswerRunEvent) -> Void) async throws(Refusal) -> Void
  ) {
    let (events, continuation) = AsyncThrowingStream.makeStream(
      of: AnswerRunEvent.self, throwing: (any Error).self)
    let (beginning, first) = AsyncStream.makeStream(
      of: Result<Void, Refusal>.self, bufferingPolicy: .bufferingOldest(1))
    self.events = events
    self.beginning = beginning
    task = Task {
      let clock = Task {
        try await Task.sleep(for: Self.patience)
        first.yield(.success(()))
        while true {
          continuation.yield(.tick)
          try await Task.sleep(for: Self.tick)
        }
      }
      do throws(Refusal) {
        try await work { event in
          continuation.yield(event)
          // Pictures are good and the prompt fits once it is being read.
          if case .answer(_, .reading) = event { first.yield(.success(())) }
        }
        first.yield(.success(()))
        continuation.finish()
      } catch {
        first.yield(.failure(error))
        continuation.finish(throwing: error)
      }
      clock.cancel()
    }
    continuation.onTermination = { [task] ending in
      if case .cancelled = ending { task.cancel() }
    }
  }

  /// Stops it; its events then end with a refusal.
  func cancel() { task.cancel() }

  func ready() async throws(Refusal) {
    for await result in beginning { return try result.get() }
  }

  /// Waits for all answers.
  func outcome(choices: Int) async throws(Refusal) -> AnswerOutcome {
    var admission = Admission(model: "")
    var answers = [Answer?](repeating: nil, count: choices)
    var logprobs = [[TokenLogprob]](repeating: [], count: choices)
    do {
      for try await event in events {
        switch event {
        case .admitted(let value): admission = value
        case .answer(let choice, .finished(let answer)): answers[choice] = answer
        case .answer(let choice, .tokens(let tokens)): logprobs[choice] += tokens
        case .opening, .answer, .tick: break
        }
      }
    } catch {
      throw Refusal(error)
    }
    let finished = answers.compactMap(\.self)
    guard finished.count == choices else { throw Refusal(.unavailable, "the answer was stopped") }
    return AnswerOutcome(admission: admission, answers: finished, logprobs: logprobs)
  }
}
