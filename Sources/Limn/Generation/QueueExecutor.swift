import Dispatch
import Synchronization

/// Runs an actor's work on a dispatch queue, so that a forward pass never blocks a thread of Swift's own pool.
final class QueueExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "limn.engine", qos: .userInitiated)
  private let waiting = Atomic<Int>(0)

  /// Whether other work is waiting for the actor.
  var isAwaited: Bool { waiting.load(ordering: .relaxed) > 0 }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    waiting.add(1, ordering: .relaxed)
    queue.async {
      self.waiting.subtract(1, ordering: .relaxed)
      job.runSynchronously(on: self.asUnownedSerialExecutor())
    }
  }
}
