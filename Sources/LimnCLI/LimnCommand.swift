import ArgumentParser
import CLimnCommit
import Foundation
import Limn
import LimnCore

@main
struct LimnCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limn",
    abstract: "Ask about pictures, on your own computer.",
    discussion: """
        limn ask photo.jpg "What is the weather?"   one answer
        limn chat photo.jpg                         a conversation
        limn show path/to/model                     what a model is

      Without --model and LIMN_MODEL, a small demo model answers; it knows
      drawn scenes only.
      """,
    version: "limn \(Limn.version)" + (limn_commit().map { " (\(String(cString: $0)))" } ?? ""),
    subcommands: [
      Ask.self, Chat.self, Show.self, Quantize.self, Convert.self, Bench.self, Debug.self,
    ])

  /// Runs the command and exits with the code for the error, if any. ArgumentParser's own `main` would exit with 64
  /// for wrong usage.
  static func main() async {
    // If the reader goes away (`limn … | head`), end quietly through the write that fails.
    signal(SIGPIPE, SIG_IGN)
    // Without this, the next file opened would get the descriptor of a closed standard stream.
    for stream in STDIN_FILENO...STDERR_FILENO where fcntl(stream, F_GETFD) == -1 { _ = open("/dev/null", O_RDWR) }
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let error as LimnError {
      Terminal.endProgress()
      if error.kind != .interrupted { Terminal.error("limn: \(error.description(for: .command))") }
      Foundation.exit(error.kind.exitCode)
    } catch {
      let message = fullMessage(for: error)
      guard exitCode(for: error) != .success else {
        Terminal.print(message)
        Foundation.exit(0)
      }
      Terminal.error(message)
      if let meant = mistypedCommand() { Terminal.error("Did you mean `limn \(meant)`?") }
      Foundation.exit(LimnError.Kind.usage.exitCode)
    }
  }

  /// The command that the first argument resembles, if it is not a command itself.
  private static func mistypedCommand() -> String? {
    let names = configuration.subcommands.map { $0._commandName }
    guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-"), !names.contains(word)
    else {
      return nil
    }
    return names.filter { editDistance(word, $0) <= 2 }.min {
      editDistance(word, $0) < editDistance(word, $1)
    }
  }

  /// How many letters to insert, remove, replace or swap with a neighbour to turn `a` into `b`.
  private static func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a), Array(b))
    var table = (0...a.count).map { row in (0...b.count).map { row == 0 ? $0 : $0 == 0 ? row : 0 } }
    for i in 0..<a.count {
      for j in 0..<b.count {
        let change = table[i][j] + (a[i] == b[j] ? 0 : 1)
        table[i + 1][j + 1] = min(table[i][j + 1] + 1, table[i + 1][j] + 1, change)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
          table[i + 1][j + 1] = min(table[i + 1][j + 1], table[i - 1][j - 1] + 1)
        }
      }
    }
    return table[a.count][b.count]
  }
}

extension LimnError.Kind {
  /// The exit code: 2 as usual for wrong usage, 130 as shells use for Ctrl-C, and otherwise the numbers of
  /// sysexits.h.
  var exitCode: Int32 {
    switch self {
    case .usage: 2
    case .badData: 65
    case .notFound: 66
    case .unavailable: 69
    case .defect: 70
    case .interrupted: 130
    }
  }
}
