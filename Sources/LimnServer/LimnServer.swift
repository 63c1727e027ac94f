import Foundation
package import Hummingbird
import HummingbirdCore
package import Limn
package import LimnCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import UnixSignals

/// A server of models over HTTP.
package struct LimnServer: Sendable {
  private let options: ServerOptions
  private let services: Services

  /// - Throws: what is wrong with a model's name; models themselves are opened when they are first asked.
  package init(_ options: ServerOptions) throws(LimnError) {
    self.options = options
    services = try Services(options)
  }

  /// The names by which clients call the models.
  package var modelNames: [String] { services.pool.models.map(\.id) }

  /// The routes of all APIs.
  package func router() -> Router<ServerContext> {
    let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
    let routes = Routes(router, maxBody: options.maxBody)
    router.add(middleware: AccessLog(form: options.log))
    router.add(middleware: ErrorWriting(methods: routes.table.methods))
    router.add(middleware: AccessRules(options))
    routes.get("/", .text("Whether it runs, for people.")) { _, _ in .text("limn \(options.version) is running.\n") }
    ChatCompletions.add(to: routes, services)
    Completions.add(to: routes, services)
    ResponsesAPI.add(to: routes, services)
    ModelList.add(to: routes, services)
    Embeddings.add(to: routes, services)
    Ollama.add(to: routes, services)
    Anthropic.add(to: routes, services)
    LMStudio.add(to: routes, services)
    Operations.add(to: routes, services)
    OpenAPIDescription.add(to: routes, services)
    return router
  }

  /// The places among which requests are shared out.
  package var queue: AnswerQueue { services.answers.queue }

  /// Models that do not open, with the reason; requests for them are refused.
  package var problems: [(name: String, problem: LimnError)] {
    services.pool.models.compactMap { model in model.problem.map { (model.id, $0) } }
  }

  /// Serves until SIGTERM or SIGINT.
  /// - Parameter started: called with the address once requests are taken.
  /// - Throws: `unavailable` if the address cannot be had.
  package func run(started: @escaping @Sendable (String) -> Void) async throws(LimnError) {
    var logger = Logger(label: "limn")
    logger.logLevel = .critical
    let maxBody = options.maxBody
    let address = options.socket.map(BindAddress.unixDomainSocket) ?? .hostname(options.host, port: options.port)
    let (host, socket) = (options.host, options.socket)
    let state = State()
    let connections = Connections()
    let app = Application(
      router: router(),
      server: HTTPServerBuilder { responder in
        GuardedChannel(responder: responder, maxBody: maxBody, connections: connections)
      },
      configuration: ApplicationConfiguration(address: address, serverName: nil),
      onServerRunning: { channel in
        state.hasStarted.store(true, ordering: .relaxed)
        let port = channel.localAddress?.port ?? 0
        started(socket ?? "http://\(host.contains(":") ? "[\(host)]" : host):\(port)")
      },
      logger: logger)
    var configuration = ServiceGroupConfiguration(
      services: [.init(service: app), .init(service: Sweeper(pool: services.pool))],
      gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    configuration.maximumGracefulShutdownDuration = .seconds(options.grace)
    do {
      try await ServiceGroup(configuration: configuration).run()
    } catch {
      // Once it runs, only the end of the grace period ends it with an error, and that is as it should be.
      if state.hasStarted.load(ordering: .relaxed) { return }
      let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw LimnError(
        .unavailable, "cannot listen (\(reason))", in: socket ?? "\(options.host):\(options.port)",
        remedy: socket == nil ? "choose another address: --port" : "choose another path: --unix")
    }
  }
}

private final class State: Sendable {
  /// Whether requests are taken.
  let hasStarted = Atomic(false)
}

/// Closes models that have not been used for their time.
private struct Sweeper: Service {
  let pool: ModelPool

  func run() async throws {
    try await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        await pool.sweep()
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }
}
