import CPseudoTerminal
import Foundation
import Synchronization

/// The command in a terminal, as a person sees it.
final class PseudoTerminal: Sendable {
  private let descriptor: Int32
  // It is not touched after `init` except to end it.
  nonisolated(unsafe) private let process = Process()
  private let output = Mutex("")

  init(_ arguments: [String], environment: [String: String] = [:]) throws {
    var terminal: Int32 = -1
    descriptor = open_pseudo_terminal(&terminal)
    guard descriptor >= 0 else { throw CocoaError(.fileReadUnknown) }
    let handle = FileHandle(fileDescriptor: terminal, closeOnDealloc: true)
    process.executableURL = products.appendingPathComponent("limn")
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "LIMN_MODEL": "", "NO_COLOR": ""].merging(environment) { $1 }
    ) { $1 }
    process.standardInput = handle
    process.standardOutput = handle
    process.standardError = handle
    try process.run()
    try? handle.close()
    Thread.detachNewThread { [descriptor, weak self] in
      var bytes = [UInt8](repeating: 0, count: 4096)
      var text: [UInt8] = []
      while case let count = read(descriptor, &bytes, bytes.count), count > 0 {
        text += bytes[..<count]
        let seen = String(decoding: text, as: UTF8.self)
        self?.output.withLock { $0 = seen }
      }
    }
  }

  deinit {
    if process.isRunning { process.terminate() }
    process.waitUntilExit()
    close(descriptor)
  }

  /// Everything that was written so far.
  var text: String { output.withLock { $0 } }

  func type(_ keys: String) { _ = Array(keys.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } }

  /// Waits until a text has been written so many times.
  /// - Returns: whether it has.
  func shows(_ text: String, times: Int = 1) -> Bool {
    for _ in 0..<600 {
      if self.text.components(separatedBy: text).count > times { return true }
      usleep(100_000)
    }
    return false
  }

  /// The exit code, once the command has ended.
  func code() -> Int32 {
    process.waitUntilExit()
    return process.terminationStatus
  }
}
