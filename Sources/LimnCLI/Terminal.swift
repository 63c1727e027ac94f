import Foundation
import Synchronization

/// Writes answers to standard output and everything else to standard error.
enum Terminal {
  static let showsErrors = isatty(STDERR_FILENO) == 1
  /// Colours are on only for a terminal, and unless the user turned them off (https://no-color.org).
  static let colours =
    showsErrors && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
    && ProcessInfo.processInfo.environment["TERM"] != "dumb"

  /// Writes the whole text to standard output at once; ends the process quietly if the reader is gone.
  static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Foundation.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if written > 0 {
        bytes = bytes.dropFirst(written)
      } else if errno == EAGAIN {
        // Another process sharing this terminal or pipe may have made it non-blocking for everybody.
        var output = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
        poll(&output, 1, -1)
      } else if errno != EINTR {
        // The reader is gone: this is how `limn … | head` ends.
        if errno == EPIPE { exit(0) }
        error("limn: standard output cannot be written: \(String(cString: strerror(errno)))")
        exit(69)
      }
    }
  }

  static func print(_ line: String) { write(line + "\n") }

  static func error(_ line: String) { writeError(line + "\n") }

  /// Writes text to standard error; drops it if standard error is closed.
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

  /// Updates a line in place, on a terminal only, and only for work that takes over half a second.
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

/// Runs work that Ctrl-C cancels; a second Ctrl-C exits at once.
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
