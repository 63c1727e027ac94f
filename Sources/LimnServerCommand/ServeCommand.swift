package import ArgumentParser
import Foundation
import Limn
import LimnCore
package import LimnServer

extension ServerOptions.Log: ExpressibleByArgument {}

@main
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limn serve",
    abstract: "Answer over HTTP, for the programs that speak to OpenAI, Ollama, Anthropic or LM Studio.",
    discussion: """
        limn serve                                  the demo model
        limn serve -m ~/models/llava-phi-3-mini     one of yours; several are fine
        limn serve --host 0.0.0.0 --api-key-file keys.txt

      Models are opened when they are first asked.
      """)

  @Option(
    name: .shortAndLong, help: ArgumentHelp("A model: a folder, or a .gguf file; may be repeated.", valueName: "path"))
  var model: [String] = []
  @Option(help: ArgumentHelp("The address to listen at.", valueName: "address")) var host = "127.0.0.1"
  @Option(help: ArgumentHelp("The port to listen at; 0: any free one.", valueName: "n")) var port = 8420
  @Option(help: ArgumentHelp("A Unix socket to listen at instead.", valueName: "path")) var unix: String?
  @Option(help: ArgumentHelp("Requests that are answered at the same time.", valueName: "n")) var parallel = 4
  @Option(help: ArgumentHelp("Requests that wait besides those; more are refused.", valueName: "n")) var queue = 64
  @Option(help: ArgumentHelp("The longest body of a request, in bytes.", valueName: "bytes")) var maxBody = 100 << 20
  @Option(help: ArgumentHelp("A key that requests must bring; may be repeated.", valueName: "key")) var apiKey:
    [String] = []
  @Option(help: ArgumentHelp("A file with such keys, one a line.", valueName: "file")) var apiKeyFile: String?
  @Option(help: ArgumentHelp("Another name by which clients may call this server.", valueName: "name")) var hostName:
    [String] = []
  @Option(
    help: ArgumentHelp("A page that may use this server from a browser: https://chat.example.org.", valueName: "origin")
  )
  var origin: [String] = []
  @Flag(help: "Fetch pictures also from private addresses.") var allowPrivateUrls = false
  @Option(help: ArgumentHelp("The longest time that an answer may take.", valueName: "seconds")) var timeout = 600.0
  @Option(help: ArgumentHelp("Time for running answers after SIGTERM or Ctrl-C.", valueName: "seconds")) var grace =
    30.0
  @Option(help: ArgumentHelp("Memory that open models may take together, in bytes.", valueName: "bytes")) var memory:
    Int?
  @Option(help: ArgumentHelp("When an unused model is closed; 0: never.", valueName: "seconds")) var ttl = 1800.0
  @Option(help: ArgumentHelp("Maximum length of prompt and answer together, in tokens.", valueName: "n")) var context:
    Int?
  @Option(help: ArgumentHelp("Number of threads.", valueName: "n")) var threads: Int?
  @Option(help: ArgumentHelp("How requests are logged: text, json or none.", valueName: "form")) var log = ServerOptions
    .Log.text

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws { if !condition { throw ValidationError(message) } }
    try require((0...65535).contains(port), "--port must be between 0 and 65535.")
    try require((1...256).contains(parallel), "--parallel must be between 1 and 256.")
    try require(queue >= 0, "--queue must be 0 or more.")
    try require(maxBody > 0 && maxBody <= 1 << 30, "--max-body must be between 1 and 1073741824.")
    try require(timeout > 0 && timeout.isFinite, "--timeout must be over 0.")
    try require(grace >= 0 && grace.isFinite, "--grace must be 0 or more.")
    try require(ttl >= 0 && ttl.isFinite, "--ttl must be 0 or more.")
    try require(context ?? 1 >= 1, "--context must be 1 or more.")
    try require(!apiKey.contains(""), "--api-key must not be empty.")
  }

  private func options() throws(LimnError) -> ServerOptions {
    var options = ServerOptions()
    let named = ProcessInfo.processInfo.environment["LIMN_MODEL"] ?? ""
    options.models = model.isEmpty && !named.isEmpty ? [named] : model
    options.load.context = context
    options.load.threads = threads
    (options.host, options.port, options.socket) = (host, port, unix)
    (options.parallel, options.queue, options.maxBody) = (parallel, queue, maxBody)
    options.apiKeys = apiKey
    if let apiKeyFile {
      guard let text = try? String(contentsOfFile: apiKeyFile, encoding: .utf8) else {
        throw LimnError(.notFound, "cannot be read", in: apiKeyFile, remedy: "check --api-key-file")
      }
      let keys = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
        .filter { !$0.isEmpty }
      guard !keys.isEmpty else {
        throw LimnError(.usage, "there is no key in it", in: apiKeyFile, remedy: "write one key a line")
      }
      options.apiKeys += keys
    }
    (options.hostNames, options.origins, options.allowsPrivateURLs) = (hostName, origin, allowPrivateUrls)
    (options.timeout, options.grace, options.memory) = (timeout, grace, memory)
    options.ttl = ttl == 0 ? nil : ttl
    options.log = log
    return options
  }

  func run() async throws {
    let options = try options()
    let server = try LimnServer(options)
    let name = server.modelNames.first ?? ""
    for (name, problem) in server.problems {
      Self.note("limn: \(name) does not open: \(problem.description(for: .command))")
    }
    if !["127.0.0.1", "::1", "localhost"].contains(host), unix == nil, options.apiKeys.isEmpty {
      Self.note("limn: \(host) can be reached from other machines, and no --api-key protects it")
    }
    let key = options.apiKeys.isEmpty ? "" : #" -H "Authorization: Bearer $KEY""#
    let isSocket = unix != nil
    try await server.run { address in
      let target = isSocket ? "--unix-socket \(address) http://localhost" : address
      Self.note(
        """
        limn: serving \(name) at \(address). Try:
          curl \(target)/v1/chat/completions\(key) \\
            -d '{"model": "\(name)", "messages": [{"role": "user", "content": "Hello"}]}'
        """)
    }
  }

  private static func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

  static func main() async {
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try parse()
      try await command.run()
    } catch let error as LimnError {
      note("limn: \(error.description(for: .command))")
      Foundation.exit(error.kind.exitCode)
    } catch {
      if exitCode(for: error) == .success {
        print(fullMessage(for: error))
        Foundation.exit(0)
      }
      note(fullMessage(for: error))
      Foundation.exit(2)
    }
  }
}
