import ArgumentParser
import CLimnSystem
import Foundation
import LimnCore

/// Starts the server, a program of its own beside this one: what it is built from takes minutes to compile, and nobody
/// who only wants to ask about a picture should wait for that.
struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answer over HTTP, for programs that speak to OpenAI, Ollama, Anthropic or LM Studio.",
    discussion: "limn serve --help lists its options.")

  @Argument(parsing: .captureForPassthrough, help: "Options of the server.")
  var arguments: [String] = []

  func run() throws {
    let program = try Self.program()
    var words = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    execv(program, &words)
    throw LimnError(.unavailable, "cannot be started (\(String(cString: strerror(errno))))", in: program)
  }

  private static func program() throws(LimnError) -> String {
    let own = Bundle.main.executableURL?.resolvingSymlinksInPath()
    let folder = own?.deletingLastPathComponent() ?? URL(fileURLWithPath: ".")
    let places = [folder, folder.appending(path: "../libexec/limn")].map {
      $0.appending(path: "limn-server").standardizedFileURL.path(percentEncoded: false)
    }
    if let place = places.first(where: { access($0, X_OK) == 0 }) { return place }
    throw LimnError(
      .unavailable, "the server is not beside this program", expected: places.joined(separator: " or "),
      remedy: "build it with `make`, or install limn with it")
  }
}
