import Foundation
import Limn
import LimnCore
import Synchronization

/// Takes jobs, gives them places and models, and runs them.
struct AnswerService: Sendable {
  let pool: ModelPool
  let queue: AnswerQueue
  let metrics: ServerMetrics
  /// Seconds that an answer may take once it has its place.
  let timeout: Double
  /// How many answers of one job are generated at the same time, so that one job never takes all places of a model.
  let width: Int

  init(_ options: ServerOptions, pool: ModelPool, metrics: ServerMetrics) {
    self.pool = pool
    self.metrics = metrics
    queue = AnswerQueue(places: options.parallel, limit: options.queue)
    timeout = options.timeout
    width = max(1, options.parallel - 1)
  }

  /// Starts a job.
  /// - Returns: once the first thing has happened to its answer, or after some seconds.
  /// - Throws: a refusal if the job fails before that.
  func start(_ job: AnswerJob, for caller: Caller) async throws(Refusal) -> AnswerRun {
    try pool.check(job.model)
    try Pictures.check(job.request(choice: 0))
    let run = AnswerRun { report throws(Refusal) in
      try await self.work(on: job, for: caller, report)
    }
    caller.departure.add { run.cancel() }
    try await run.ready()
    return run
  }

  private func work(
    on job: AnswerJob, for caller: Caller, _ report: @escaping @Sendable (AnswerRunEvent) -> Void
  ) async throws(Refusal) {
    try await hold(job.model, keepAlive: job.keepAlive, for: caller) {
      report(.opening($0))
    } admitted: { admission in
      report(.admitted(admission))
    } body: { model in
      try await self.answer(job, model, report)
    }
  }

  /// Does something with a model that takes as long as an answer, in turn with answers.
  /// - Parameters:
  ///   - opening: called with how far its model is opened, 0 to 1, if that is done for it.
  ///   - admitted: called when it has its place, and its model is open.
  func hold<Result: Sendable>(
    _ name: String, keepAlive: KeepAlive? = nil, for caller: Caller,
    opening: @escaping @Sendable (Double) -> Void = { _ in },
    admitted: @escaping @Sendable (Admission) -> Void = { _ in },
    body: @escaping @Sendable (VisionLanguageModel) async throws -> Result
  ) async throws(Refusal) -> Result {
    let asked = ContinuousClock.now
    try await queue.enter(caller.name)
    let entered = ContinuousClock.now
    metrics.waited(seconds: entered.secondsSince(asked))
    let result: Swift.Result<Result, Refusal>
    do throws(Refusal) {
      if Task.isCancelled { throw Refusal(CancellationError()) }
      let value = try await pool.use(name, keepAlive: keepAlive, opening: opening) { lease in
        admitted(
          Admission(
            model: lease.id, loading: lease.loadingSeconds, waiting: entered.secondsSince(asked), started: asked))
        return try await within(timeout) { try await body(lease.model) }
      }
      result = .success(value)
    } catch {
      result = .failure(error)
    }
    await queue.leave(caller.name, after: ContinuousClock.now.secondsSince(entered))
    return try result.get()
  }

  private func answer(
    _ job: AnswerJob, _ model: VisionLanguageModel, _ report: @escaping @Sendable (AnswerRunEvent) -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for choice in 0..<job.choices {
        if choice >= width { try await group.next() }
        group.addTask {
          let trimmer = Trimmer(isOn: job.trims)
          let started = ContinuousClock.now
          var answer = try await model.answer(job.request(choice: choice)) { event in
            metrics.received(event)
            if let event = trimmer.trimmed(event) { report(.answer(choice: choice, event)) }
          }
          if job.trims { answer.text = String(answer.text.drop(while: \.isWhitespace)) }
          metrics.finished(answer, seconds: ContinuousClock.now.secondsSince(started))
          report(.answer(choice: choice, .finished(answer)))
        }
      }
      try await group.waitForAll()
    }
  }

  /// Runs an operation, and cancels it when the time is over.
  private func within<Result: Sendable>(
    _ seconds: Double, _ operation: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
      group.addTask(operation: operation)
      group.addTask {
        let end = ContinuousClock.now + .seconds(seconds)
        // A sleep that is cancelled leaves its timer behind until it would have rung; thousands of ten minutes each fill
        // the memory.
        while ContinuousClock.now < end {
          try await Task.sleep(until: min(end, .now + .seconds(5)), clock: .continuous)
        }
        var refusal = Refusal(
          .timeout, "the answer took longer than the \(seconds.formatted()) s that this server allows",
          code: "timeout")
        refusal.headers = [("x-should-retry", "false")]
        throw refusal
      }
      defer { group.cancelAll() }
      guard let result = try await group.next() else { throw CancellationError() }
      return result
    }
  }
}

/// Who asks: for fairness, and to notice that they have left.
struct Caller: Sendable {
  /// The same for all requests of one client.
  var name: String
  var departure: Departure

  init(name: String, departure: Departure = Departure()) {
    self.name = name
    self.departure = departure
  }
}

/// Tells that a client has closed its connection.
final class Departure: Sendable {
  private struct State {
    var hasLeft = false
    var actions: [@Sendable () -> Void] = []
  }

  private let state = Mutex(State())

  init() {}

  var hasLeft: Bool { state.withLock(\.hasLeft) }

  /// Does something once the client has left; at once if it has left already.
  func add(_ action: @escaping @Sendable () -> Void) {
    let hasLeft = state.withLock { state in
      if !state.hasLeft { state.actions.append(action) }
      return state.hasLeft
    }
    if hasLeft { action() }
  }

  /// The request was answered: what was to be done for it is forgotten, since the connection may bring another one.
  func clear() { state.withLock { $0.actions = [] } }

  func leave() {
    let actions = state.withLock { state in
      state.hasLeft = true
      defer { state.actions = [] }
      return state.actions
    }
    for action in actions { action() }
  }
}

/// Leaves out white space before an answer's first word.
private final class Trimmer: Sendable {
  private let isBefore: Mutex<Bool>

  init(isOn: Bool) { isBefore = Mutex(isOn) }

  /// Nil if nothing is left.
  func trimmed(_ event: AnswerEvent) -> AnswerEvent? {
    switch event {
    case .finished: return nil
    case .text(let piece):
      let text = isBefore.withLock { isBefore in
        guard isBefore else { return piece }
        let rest = String(piece.drop(while: \.isWhitespace))
        isBefore = rest.isEmpty
        return rest
      }
      return text.isEmpty ? nil : .text(text)
    default: return event
    }
  }
}

extension ContinuousClock.Instant {
  func secondsSince(_ other: ContinuousClock.Instant) -> Double { (self - other) / .seconds(1) }
}
