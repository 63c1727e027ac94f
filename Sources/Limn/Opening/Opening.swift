import Dispatch
package import LimnCore
import Synchronization

/// The steps of opening a model, in the order in which they are made.
public enum OpeningStep: String, Sendable, CaseIterable {
  /// The files are mapped, and their headers read.
  case files
  case tokenizer
  /// How conversations are written: the chat template.
  case conversation
  case imageProcessor
  /// Weights are checked and put together; with `LoadOptions.quantization` they are quantised, which takes minutes.
  case weights
}

/// How far the opening of a model is.
public struct OpeningProgress: Sendable, Equatable {
  /// What is being done.
  public let step: OpeningStep
  /// The share of the step that is done, 0 to 1.
  public let fraction: Double
}

/// Tells somebody how far the opening of a model is, and stops it where its task is cancelled.
package struct OpeningWatch: Sendable {
  private let report: @Sendable (OpeningProgress) -> Void
  private let isCancelled: @Sendable () -> Bool

  package init(
    report: @escaping @Sendable (OpeningProgress) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) {
    self.report = report
    self.isCancelled = isCancelled
  }

  /// - Throws: `interrupted`, where the task was cancelled.
  func reached(_ fraction: Double, of step: OpeningStep) throws(LimnError) {
    guard !isCancelled() else { throw LimnError(.interrupted, "interrupted") }
    report(OpeningProgress(step: step, fraction: fraction))
  }

  /// Does work that reads files and computes for a long time on a thread of its own: Swift's pool has one for each
  /// core, and other tasks need them. Cancelling the task stops the work where it next reports.
  package static func run<Result: Sendable>(
    report: @escaping @Sendable (OpeningProgress) -> Void,
    _ work: @escaping @Sendable (OpeningWatch) throws(LimnError) -> Result
  ) async throws(LimnError) -> Result {
    let cancelled = Flag()
    let watch = OpeningWatch(report: report, isCancelled: { cancelled.isSet.load(ordering: .relaxed) })
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Swift.Result<Result, LimnError>, Never>) in
        DispatchQueue(label: "limn.opening", qos: .userInitiated).async {
          continuation.resume(returning: Swift.Result { () throws(LimnError) in try work(watch) })
        }
      }
    } onCancel: {
      cancelled.isSet.store(true, ordering: .relaxed)
    }
    return try result.get()
  }

  private final class Flag: Sendable {
    let isSet = Atomic(false)
  }
}
