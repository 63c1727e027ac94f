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
        limn serve                                  a server for other programs
        limn show path/to/model                     what a model is

      Without --model and LIMN_MODEL, a small demo model answers; it knows
      drawn scenes only.

      ENVIRONMENT:
        LIMN_MODEL        the model where --model names none
        LIMN_RESOURCES    the folder with the demo model, limn-demo
        LIMN_SERVER       the server that ps and stop speak to
        LIMN_API_KEY      its key
        HF_HOME           Hugging Face's cache, where an adapter's base may be
        XDG_STATE_HOME    where chat keeps its history (~/.local/state/limn)
        http_proxy, https_proxy, all_proxy, no_proxy
                          how pictures are fetched by URL
        NO_COLOR          no colours on the terminal

      EXIT CODES:
        0  done            65  bad input          70   a defect of limn
        2  wrong usage     66  no such file       130  interrupted
                           69  network, disk or memory is missing

      The manual page, where it is installed, is `man limn`. Completions for bash,
      zsh and fish: limn --generate-completion-script zsh
      """,
    version: "limn \(Limn.version)" + (limn_commit().map { " (\(String(cString: $0)))" } ?? ""),
    subcommands: [
      Ask.self, Chat.self, Serve.self, Ps.self, Stop.self, Show.self, Quantize.self, Convert.self, Bench.self,
      Debug.self,
    ])

  /// Runs the command and exits with the code for the error, if any. ArgumentParser's own `main` would exit with 64
  /// for wrong usage.
  static func main() async {
    // If the reader goes away (`limn … | head`), end quietly through the write that fails.
    signal(SIGPIPE, SIG_IGN)
    // Without this, the next file opened would get the descriptor of a closed standard stream.
    for stream in STDIN_FILENO...STDERR_FILENO where fcntl(stream, F_GETFD) == -1 { _ = open("/dev/null", O_RDWR) }
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      var command = try parseAsRoot(CommandWords.sorted(words))
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
      let commands = configuration.subcommands.map { $0._commandName } + ["help"]
      if let first = words.first, !first.hasPrefix("-"), !commands.contains(first) {
        let meant = CommandWords.meant(by: words, commands: commands).map { "Did you mean `\($0)`?" }
        Terminal.error(
          "limn: \(LimnError.printable(first)) is no command. "
            + LimnError.printable(meant ?? "`limn --help` lists the commands."))
      } else {
        Terminal.error(message)
      }
      Foundation.exit(LimnError.Kind.usage.exitCode)
    }
  }
}
