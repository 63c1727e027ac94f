import Foundation
import Synchronization

/// What the command writes: answers to standard output, everything else to standard error.
enum Terminal {
  static let showsErrors = isatty(STDERR_FILENO) == 1
  /// Colour only where a person reads, and did not ask for none (https://no-color.org).
  static let colours =
    showsErrors && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
    && ProcessInfo.processInfo.environment["TERM"] != "dumb"

  /// Text to standard output, whole and at once; ends the process quietly when nobody reads any more.
  static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Foundation.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if written > 0 {
        bytes = bytes.dropFirst(written)
      } else if errno == EAGAIN {
        // A process that shares this terminal or pipe may have made it non-blocking for all.
        var output = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
        poll(&output, 1, -1)
      } else if errno != EINTR {
        // Nobody reads any more: that is how `limn … | head` ends.
        if errno == EPIPE { exit(0) }
        error("limn: standard output cannot be written: \(String(cString: strerror(errno)))")
        exit(69)
      }
    }
  }

  static func print(_ line: String) { write(line + "\n") }

  static func error(_ line: String) { writeError(line + "\n") }

  /// Text to standard error; where nobody can read it, it is dropped.
  static func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  static func dimmed(_ text: String) -> String { colours ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

  // MARK: Progress

  private struct ProgressLine {
    var started: ContinuousClock.Instant?
    var isShown = false
  }

  private static let line = Mutex(ProgressLine())

  /// One line that changes in place, on a terminal only, and only for what takes over half a second.
  static func progress(_ text: String) {
    guard showsErrors else { return }
    line.withLock { line in
      let now = ContinuousClock.now
      if line.started == nil { line.started = now }
      guard line.isShown || now - line.started! > .milliseconds(500) else { return }
      line.isShown = true
      writeError("\r\u{1B}[K" + dimmed(text))
    }
  }

  static func endProgress() {
    line.withLock { line in
      if line.isShown { writeError("\r\u{1B}[K") }
      line = ProgressLine()
    }
  }
}

/// Runs work that Ctrl-C cancels; a second Ctrl-C ends the process at once.
func interruptible<Result: Sendable>(_ work: @escaping @Sendable () async throws -> Result) async throws
  -> Result
{
  let task = Task { try await work() }
  signal(SIGINT, SIG_IGN)
  let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
  let presses = Mutex(0)
  source.setEventHandler {
    if presses.withLock({
      $0 += 1; return $0
    }) > 1 {
      exit(130)
    }
    task.cancel()
  }
  source.resume()
  defer {
    source.cancel()
    signal(SIGINT, SIG_DFL)
  }
  return try await task.value
}
