import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import LimnCore

/// Who may talk to the server, checked before any work and on every path.
///
/// A loopback address is no boundary by itself: every page in a browser on this machine can send requests there. So the
/// Host must be an address or a name of this machine (a page that reaches it through a name of its own gives that name),
/// and a request that says it comes from a page must come from the server's own page, or from one that was named.
struct AccessRules: RouterMiddleware {
  /// Paths that need no key.
  static let publicPaths: Set<String> = ["/health", "/v1/health", "/ready"]

  private let keys: [[UInt8]]
  private let hostNames: Set<String>
  private let origins: Set<String>

  init(_ options: ServerOptions) {
    keys = options.apiKeys.map(Self.digest)
    var names = Set(options.hostNames.map { $0.lowercased() })
    if !["127.0.0.1", "::1", "localhost"].contains(options.host) {
      // Other machines and containers call it by its names.
      names.formUnion([
        "host.docker.internal", ProcessInfo.processInfo.hostName.lowercased(), options.host.lowercased(),
      ])
    }
    hostNames = names
    origins = Set(options.origins.map { $0.lowercased() })
  }

  func handle(
    _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    var context = context
    let host = try host(of: request)
    let origin = try origin(of: request, host: host)
    if request.method == .options, let origin, request.headers[.accessControlRequestMethod] != nil {
      return Response(
        status: .noContent,
        headers: [
          .accessControlAllowOrigin: origin, .vary: "Origin", .accessControlAllowMethods: "GET, POST, DELETE",
          .accessControlAllowHeaders: "authorization, content-type, x-api-key, anthropic-version",
        ])
    }
    context.keyName = try key(of: request)
    if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
      throw Refusal(.unsupportedMedia, "the body must not be compressed (Content-Encoding: \(encoding.prefix(40)))")
    }
    var response = try await next(request, context)
    if let origin {
      response.headers[.accessControlAllowOrigin] = origin
      response.headers[.vary] = "Origin"
    }
    return response
  }

  // MARK: Host and Origin

  private func host(of request: Request) throws(Refusal) -> String {
    guard let host = request.head.authority, let name = Self.name(ofHost: host) else {
      throw Refusal(.permission, "the Host header is malformed", code: "host_not_allowed")
    }
    guard isOwn(name) else {
      throw Refusal(
        .permission, "this server does not answer to the name \(LimnError.printable(name)); --host-name allows it",
        code: "host_not_allowed")
    }
    return host.lowercased()
  }

  /// The name in a Host header, in lowercase without its port; nil where it is malformed.
  private static func name(ofHost host: String) -> String? {
    let text = host.lowercased()
    let name: Substring
    let port: Substring
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      (name, port) = (text[text.index(after: text.startIndex)..<end], text[text.index(after: end)...])
    } else {
      let end = text.firstIndex(of: ":") ?? text.endIndex
      (name, port) = (text[..<end], text[end...])
    }
    let isPort = port.isEmpty || port.first == ":" && port.dropFirst().utf8.allSatisfy { (0x30...0x39).contains($0) }
    return isPort && !name.isEmpty ? String(name) : nil
  }

  private func isOwn(_ name: String) -> Bool {
    if name == "localhost" || name.hasSuffix(".localhost") || hostNames.contains(name) { return true }
    var address4 = in_addr()
    var address6 = in6_addr()
    return inet_pton(AF_INET, name, &address4) == 1 || inet_pton(AF_INET6, name, &address6) == 1
  }

  /// The page that a request comes from, if it is another one that was allowed; nil for programs and the server's own page.
  private func origin(of request: Request, host: String) throws(Refusal) -> String? {
    guard let origin = request.headers[.origin] else { return nil }
    let text = origin.lowercased()
    if text == "http://" + host || text == "https://" + host { return nil }
    guard origins.contains(text) else {
      throw Refusal(
        .permission, "pages of \(LimnError.printable(origin)) may not use this server; --origin allows it",
        code: "origin_not_allowed")
    }
    return origin
  }

  // MARK: Keys

  /// - Returns: a name for the key, by which its holder is told apart from others; nil where none is needed.
  private func key(of request: Request) throws(Refusal) -> String? {
    guard !keys.isEmpty, !Self.publicPaths.contains(request.uri.path) else { return nil }
    var given: [String] = []
    if let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") {
      given.append(String(header.dropFirst(7)))
    }
    if let name = HTTPField.Name("x-api-key"), let key = request.headers[name] { given.append(key) }
    var found: Int?
    for key in given {
      let digest = Self.digest(key)
      // All of them in the same time, whatever is right.
      for (index, own) in keys.enumerated() where zip(own, digest).reduce(0, { $0 | ($1.0 ^ $1.1) }) == 0 {
        found = index
      }
    }
    guard let found else {
      var refusal = Refusal(
        .authentication,
        given.isEmpty ? "an API key is needed: Authorization: Bearer KEY" : "this API key is not valid",
        code: "invalid_api_key")
      refusal.headers = [("WWW-Authenticate", "Bearer")]
      throw refusal
    }
    return "key \(found + 1)"
  }

  private static func digest(_ key: String) -> [UInt8] { Array(SHA256.hash(data: Data(key.utf8))) }
}

/// Writes whatever is thrown in the words of the path's API.
struct ErrorWriting: RouterMiddleware {
  /// The methods of each path, for those that are asked with another one.
  let methods: @Sendable (String) -> [String]

  func handle(
    _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    let path = request.uri.path
    do {
      return try await next(request, context)
    } catch let error as HTTPError {
      return .refusal(refusal(for: error, request), path: path)
    } catch {
      return .refusal(Refusal(error), path: path)
    }
  }

  private func refusal(for error: HTTPError, _ request: Request) -> Refusal {
    switch error.status {
    case .notFound:
      let allowed = methods(request.uri.path)
      guard !allowed.isEmpty, !allowed.contains(request.method.rawValue) else {
        return Refusal(.notFound, "there is nothing at \(LimnError.printable(request.uri.path))", code: "not_found")
      }
      var refusal = Refusal(.methodNotAllowed, "this path takes \(allowed.joined(separator: ", "))")
      refusal.headers = [("Allow", allowed.joined(separator: ", "))]
      return refusal
    case .contentTooLarge: return Refusal(.tooLarge, "the body is too large", code: "request_too_large")
    default: return Refusal(error.status.code < 500 ? .invalidRequest : .defect, error.body ?? "\(error.status)")
    }
  }
}
