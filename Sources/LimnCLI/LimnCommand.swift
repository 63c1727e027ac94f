import ArgumentParser
import Foundation
import Limn
import LimnTensor

@main
struct LimnCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limn",
    abstract: "Ask about pictures, on your own computer.",
    discussion: """
      limn ask photo.jpg "What is the weather?"     one answer
      limn chat photo.jpg                           a conversation
      limn show path/to/model                       what a model is, and how it will be used

      Without --model and LIMN_MODEL, a small demo model answers; it knows drawn scenes only.
      """,
    version: "limn \(Limn.version)",
    subcommands: [Ask.self, Chat.self, Show.self, Bench.self, Debug.self])

  /// Runs the command and ends the process with the exit code that the error calls for; `main` of
  /// ArgumentParser would end wrong usage with 64.
  static func main() async {
    // A reader that goes away (`limn … | head`) ends limn quietly, by way of the write that fails.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let error as LimnError {
      Terminal.endProgress()
      if error.kind != .interrupted { Terminal.error("limn: \(error)") }
      Foundation.exit(error.kind.rawValue)
    } catch {
      let message = fullMessage(for: error)
      guard exitCode(for: error) != .success else {
        Terminal.print(message)
        Foundation.exit(0)
      }
      Terminal.error(message)
      Foundation.exit(LimnError.Kind.usage.rawValue)
    }
  }
}
