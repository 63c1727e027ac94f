import LimnCore
import LimnImage

/// An image that is being encoded, and the callers that wait for it.
// Not Sendable: it lives in the engine's actor.
final class PendingImage {
  struct Waiter {
    let stop: StopSign
    let file: ImageKey?
    let progress: @Sendable (Int, Int) -> Void
    let continuation: CheckedContinuation<Result<ImageEmbedding, LimnError>, Never>
  }

  let encoding: ImageEncoding
  let reuse: Bool
  let since: Double
  var waiters: [Waiter] = []
  private var reported = 0

  init(_ encoding: ImageEncoding, reuse: Bool, since: Double) {
    self.encoding = encoding
    self.reuse = reuse
    self.since = since
  }

  var isStopRaised: Bool { waiters.contains { $0.stop.isRaised } }

  func report() {
    guard encoding.tilesDone > reported else { return }
    reported = encoding.tilesDone
    for waiter in waiters { waiter.progress(reported, encoding.tiles) }
  }

  func removeStopped(_ error: LimnError) {
    waiters.removeAll { waiter in
      guard waiter.stop.isRaised else { return false }
      waiter.continuation.resume(returning: .failure(error))
      return true
    }
  }

  func finish(_ embedding: ImageEmbedding) {
    for waiter in waiters { waiter.continuation.resume(returning: .success(embedding)) }
  }
}
