import ArgumentParser
import Foundation
import LimnCore
import Synchronization

/// Writes answers to standard output and everything else to standard error.
enum Terminal {
  static let showsErrors = isatty(STDERR_FILENO) == 1
  /// Colours are on only for a terminal, and unless the user turned them off (https://no-color.org: empty is not set).
  static let colours =
    showsErrors && ProcessInfo.processInfo.environment["NO_COLOR"]?.isEmpty != false
    && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  /// Whether only answers and errors are wanted.
  static let isQuiet = Atomic<Bool>(false)

  /// Whether a file or a pipe waits at standard input; true also where it is meant for others.
  static var hasInput: Bool {
    var status = stat()
    guard fstat(STDIN_FILENO, &status) == 0 else { return false }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return lseek(STDIN_FILENO, 0, SEEK_CUR) < status.st_size
    case S_IFIFO:
      var input = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      return poll(&input, 1, 0) > 0 && input.revents & Int16(POLLIN) != 0
    default: return false
    }
  }

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

  /// What helps but nobody asked for.
  static func note(_ line: String) {
    if !isQuiet.load(ordering: .relaxed) { error(dimmed(line)) }
  }

  private static let warnings = Mutex<Set<String>>([])

  /// Tells what the user should know of a picture, once: a conversation may look at it many times.
  static func warn(_ warning: LimnError.Text, about image: String) {
    let line = "limn: \(LimnError.printable(image)): \(LimnError.printable(warning.description(for: .command)))"
    guard warnings.withLock({ $0.insert(line).inserted }) else { return }
    endProgress()
    error(line)
  }

  static func dimmed(_ text: String) -> String { colours ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

  // MARK: Progress

  private struct ProgressLine {
    var started: ContinuousClock.Instant?
    var isShown = false
    /// The tenths that a log has been told about.
    var tenths = 0
  }

  private static let line = Mutex(ProgressLine())

  /// Updates a line in place, on a terminal only, and only for work that takes over half a second.
  static func progress(_ text: String) {
    guard showsErrors, !isQuiet.load(ordering: .relaxed) else { return }
    line.withLock { line in
      let now = ContinuousClock.now
      if line.started == nil { line.started = now }
      guard line.isShown || now - line.started! > .milliseconds(500) else { return }
      line.isShown = true
      writeError("\r\u{1B}[K" + dimmed(text))
    }
  }

  /// The same with a bar for the share that is done; where nobody watches, a line for every tenth.
  static func progress(_ share: Double, _ text: String) {
    guard !showsErrors else {
      let filled = Int(share * 24)
      let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
      return progress("\(bar) \(Int(share * 100)) %  \(text)")
    }
    line.withLock { line in
      guard Int(share * 10) > line.tenths else { return }
      line.tenths = Int(share * 10)
      note("\(line.tenths * 10) %  \(text)")
    }
  }

  static func endProgress() {
    line.withLock { line in
      if line.isShown { writeError("\r\u{1B}[K") }
      line = ProgressLine()
    }
  }
}

/// The option `--quiet`.
struct Quietness: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Print answers and errors only: no progress, no notes.")
  var quiet = false

  func validate() { if quiet { Terminal.isQuiet.store(true, ordering: .relaxed) } }
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
