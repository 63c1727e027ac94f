import Foundation
import Limn
import LimnCore
import LimnFiles
import Synchronization
import Testing

@Suite("Opening a model") struct OpeningTests {
  private let checkpoints = ModelCase.root + "/checkpoints/"
  private let cancelled = DispatchSemaphore(value: 0)

  /// Everything that was reported, in order.
  private final class Log: Sendable {
    private let entries = Mutex<[OpeningProgress]>([])
    var progress: [OpeningProgress] { entries.withLock { $0 } }
    func add(_ progress: OpeningProgress) { entries.withLock { $0.append(progress) } }
  }

  @Test("progress passes through the steps in order, each from 0 to 1, and is not reported on Swift's thread pool")
  func progress() async throws {
    let log = Log()
    let tasks = Mutex(0)
    var options = LoadOptions()
    options.quantization = LoadQuantization(.nf4)
    _ = try await VisionLanguageModel.load(checkpoints + "llama-mha", options: options) { progress in
      log.add(progress)
      withUnsafeCurrentTask { task in if task != nil { tasks.withLock { $0 += 1 } } }
    }
    #expect(tasks.withLock { $0 } == 0)
    let steps = log.progress.map(\.step)
    #expect(steps.reduce(into: [OpeningStep]()) { if $0.last != $1 { $0.append($1) } } == OpeningStep.allCases)
    for step in OpeningStep.allCases {
      let fractions = log.progress.filter { $0.step == step }.map(\.fraction)
      #expect(fractions.first == 0 && fractions.last == 1 && fractions == fractions.sorted(), "\(step)")
    }
    // Progress moves with the weights: reports come along the way, not only at the ends.
    #expect(Set(log.progress.filter { $0.step == .weights }.map(\.fraction)).count > 20)
  }

  @Test("a cancelled task stops between two weights")
  func cancellation() async throws {
    let log = Log()
    let path = checkpoints + "llama-mha"
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        _ = try await VisionLanguageModel.load(path) { progress in
          log.add(progress)
          // The opening waits in its report until the test has cancelled its task.
          if progress.step == .weights, progress.fraction > 0.2 { self.cancelled.wait() }
        }
      }
      while log.progress.last.map({ $0.step != .weights || $0.fraction <= 0.2 }) ?? true {
        try await Task.sleep(for: .milliseconds(1))
      }
      group.cancelAll()
      cancelled.signal()
      let error = await #expect(throws: LimnError.self) { try await group.waitForAll() }
      #expect(error?.kind == .interrupted)
    }
    let told = log.progress.filter { $0.step == .weights && $0.fraction > 0.2 }
    #expect(told.count == 1 && told[0].fraction < 0.9)
  }

  /// A copy of a checkpoint's folder for the test to damage, deleted when the test ends.
  private final class Copy {
    let url = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")

    init(of path: String) throws { try FileManager.default.copyItem(at: URL(filePath: path), to: url) }

    deinit { try? FileManager.default.removeItem(at: url) }

    func write(_ file: String, _ text: String) throws { try Data(text.utf8).write(to: url.appending(path: file)) }
  }

  @Test("with several faults, asking and showing report the same one, the first in the order of the steps")
  func sameProblem() throws {
    let faults: [(String, String)] = [
      ("config.json", "{}"), ("tokenizer.json", "[]"), ("chat_template.jinja", "{% for %}"),
      ("preprocessor_config.json", #"{"resample": 9}"#),
    ]
    for first in faults.indices {
      let copy = try Copy(of: checkpoints + "llama-mha")
      for (file, text) in faults[first...] { try copy.write(file, text) }
      let location = ModelLocation(copy.url.path)
      let thrown = #expect(throws: LimnError.self) { try ModelParts(location) }
      let found = try ModelParts(found: location)
      #expect(found.problem == thrown && thrown?.place?.contains(faults[first].0) == true, "\(thrown!)")
      // Whatever does not depend on the fault is there all the same.
      #expect((found.checkpoint == nil) == (first == 0) && (found.tokenizer == nil) == (first <= 1))
    }
  }
}
