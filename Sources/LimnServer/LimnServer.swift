import Foundation
import Hummingbird
import HummingbirdCore
package import Limn
package import LimnCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
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

  func router() -> Router<ServerContext> {
    let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
    let routes = Routes(router, maxBody: options.maxBody)
    router.add(middleware: AccessLog(isJSON: options.logsJSON))
    router.add(middleware: ErrorWriting(methods: routes.methods))
    router.add(middleware: AccessRules(options))
    routes.get("/") { _, _ in .text("limn \(options.version) is running.\n") }
    ChatCompletions.add(to: routes, services)
    Completions.add(to: routes, services)
    ResponsesAPI.add(to: routes, services)
    ModelList.add(to: routes, services)
    Embeddings.add(to: routes, services)
    Ollama.add(to: routes, services)
    Anthropic.add(to: routes, services)
    LMStudio.add(to: routes, services)
    Operations.add(to: routes, services)
    return router
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
    let app = Application(
      router: router(),
      server: HTTPServerBuilder { responder in GuardedChannel(responder: responder, maxBody: maxBody) },
      configuration: ApplicationConfiguration(address: address, serverName: nil),
      onServerRunning: { channel in
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
    } catch let error as IOError {
      throw LimnError(
        .unavailable, "cannot listen (\(String(cString: strerror(error.errnoCode))))",
        in: socket ?? "\(options.host):\(options.port)", remedy: "choose another address: --port")
    } catch is CancellationError {
      return
    } catch {
      // What the end of the grace period cancelled is not an error of the server.
      return
    }
  }
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
