import Synchronization

/// How many bytes of bodies, and of pictures fetched for them, the server holds at the same time: each request may bring
/// as much as `--max-body`, and all that wait for their turn together must not fill the memory.
package final class BodyBudget: Sendable {
  private let most: Int
  private let held = Mutex(0)

  package init(most: Int) { self.most = most }

  /// Bytes that one request holds, until this is released.
  package final class Claim: Sendable {
    private let budget: BodyBudget
    private let bytes = Mutex(0)

    /// That of the request which this task works for.
    @TaskLocal package static var current: Claim?

    fileprivate init(_ budget: BodyBudget) { self.budget = budget }

    deinit { budget.give(back: bytes.withLock { $0 }) }

    package func add(_ count: Int) throws(Refusal) {
      guard budget.take(count) else {
        throw Refusal(.unavailable, "too many large requests at the same time", code: "too_many_bytes")
      }
      bytes.withLock { $0 += count }
    }
  }

  package func claim() -> Claim { Claim(self) }

  private func take(_ count: Int) -> Bool {
    held.withLock { held in
      guard held + count <= most else { return false }
      held += count
      return true
    }
  }

  private func give(back count: Int) { held.withLock { $0 -= count } }
}
