import Foundation

/// Lets some requests be answered at the same time and a bounded number wait, and is fair among clients: the next place
/// goes to the client that has the fewest, and among those to the request that has waited longest.
package actor AnswerQueue {
  private struct Ticket {
    let id: UInt64
    let client: String
    let continuation: CheckedContinuation<Bool, Never>
  }

  private let places: Int
  private let limit: Int
  private var waiting: [Ticket] = []
  private var running: [String: Int] = [:]
  private var nextID: UInt64 = 0
  /// A running mean of how long an answer takes, in seconds.
  private var usualSeconds = 2.0

  package init(places: Int, limit: Int) {
    self.places = places
    self.limit = limit
  }

  package var runningCount: Int { running.values.reduce(0, +) }
  package var waitingCount: Int { waiting.count }

  /// Waits for a place. Whoever got one gives it back with `leave`.
  /// - Throws: a refusal if too many wait already, or if the task was cancelled.
  package func enter(_ client: String) async throws(Refusal) {
    if runningCount < places, waiting.isEmpty { return running[client, default: 0] += 1 }
    guard waiting.count < limit else { throw full }
    let id = nextID
    nextID += 1
    let hasPlace = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        waiting.append(Ticket(id: id, client: client, continuation: continuation))
      }
    } onCancel: {
      Task { await cancel(id) }
    }
    if !hasPlace { throw Refusal(.unavailable, "the client has left") }
  }

  /// Gives a place back.
  /// - Parameter seconds: how long the answer took.
  package func leave(_ client: String, after seconds: Double) {
    usualSeconds += 0.2 * (seconds - usualSeconds)
    running[client, default: 1] -= 1
    if running[client] == 0 { running[client] = nil }
    while runningCount < places, let next = waiting.indices.min(by: { load($0) < load($1) }) {
      let ticket = waiting.remove(at: next)
      running[ticket.client, default: 0] += 1
      ticket.continuation.resume(returning: true)
    }
  }

  private func load(_ index: Int) -> (Int, UInt64) { (running[waiting[index].client] ?? 0, waiting[index].id) }

  private func cancel(_ id: UInt64) {
    // Nil if it got its place meanwhile; its task then notices by itself.
    guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
    waiting.remove(at: index).continuation.resume(returning: false)
  }

  private var full: Refusal {
    var refusal = Refusal(
      .rateLimit, "the queue is full (\(waiting.count) waiting); ask again in a moment", code: "queue_full")
    // An honest guess of when a place in the queue is free.
    let seconds = usualSeconds / Double(max(1, places))
    refusal.headers = [("Retry-After", String(Int(min(60, max(1, seconds.rounded(.up))))))]
    return refusal
  }
}
