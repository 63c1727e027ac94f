import CLimnTerminal
import Foundation

/// What a person types, or a program pipes in.
final class LineReader {
  /// A line as it is, or a text between two `"""`, in which nothing is a command or a picture.
  enum Question {
    case line(String)
    case text(String)
  }

  private static let mark = "\"\"\""

  private let reader: OpaquePointer

  init() { reader = limn_reader_open(Self.historyFile()) }

  deinit { limn_reader_close(reader) }

  /// Whether a person types.
  var isTerminal: Bool { limn_reader_is_terminal(reader) }

  /// The next line that is not empty; nil at the end.
  func question() -> Question? {
    while true {
      var count = 0
      var bytes: UnsafePointer<CChar>?
      switch limn_reader_next(reader, "> ", &bytes, &count) {
      case LIMN_READ_DROPPED: continue
      case LIMN_READ_LINE: break
      default: return nil
      }
      let line = Self.text(bytes, count)
      let trimmed = line.trimmingCharacters(in: .whitespacesAndNewlines)
      if trimmed.isEmpty { continue }
      guard trimmed.hasPrefix(Self.mark) else {
        limn_reader_remember(reader, line)
        return .line(trimmed)
      }
      if let text = block(from: String(trimmed.dropFirst(3))) { return .text(text) }
    }
  }

  /// Reads on until a line ends with `"""`; nil if the person drops it.
  private func block(from first: String) -> String? {
    var text = first
    while !text.hasSuffix(Self.mark) {
      var count = 0
      var bytes: UnsafePointer<CChar>?
      switch limn_reader_next(reader, ". ", &bytes, &count) {
      case LIMN_READ_DROPPED: return nil
      case LIMN_READ_LINE: text += "\n" + Self.text(bytes, count)
      // A pipe may end without the mark; a person who leaves asks nothing.
      default: return isTerminal ? nil : text.trimmingCharacters(in: .newlines)
      }
    }
    limn_reader_remember(reader, Self.mark + text)
    text = String(text.dropLast(3)).trimmingCharacters(in: .newlines)
    return text.allSatisfy(\.isWhitespace) ? nil : text
  }

  private static func text(_ bytes: UnsafePointer<CChar>?, _ count: Int) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  /// Where lines are kept from one session to the next; nil if there is no such place.
  private static func historyFile() -> String? {
    let environment = ProcessInfo.processInfo.environment
    func variable(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
    #if os(macOS)
      let usual = variable("HOME").map { $0 + "/Library/Application Support" }
    #else
      let usual = variable("HOME").map { $0 + "/.local/state" }
    #endif
    guard let state = variable("XDG_STATE_HOME") ?? usual else { return nil }
    let folder = state + "/limn"
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      return nil
    }
    return folder + "/chat-history"
  }
}
