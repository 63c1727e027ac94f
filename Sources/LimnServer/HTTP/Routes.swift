import Foundation
import Hummingbird
import LimnCore
import Synchronization

/// Routes as the APIs add them, with what is needed to say which methods a path takes.
struct Routes {
  let router: Router<ServerContext>
  let maxBody: Int
  private let table = Table()

  final class Table: Sendable {
    private let methods = Mutex<[String: [String]]>([:])
    func add(_ method: HTTPRequest.Method, _ path: String) {
      methods.withLock { $0[path, default: []].append(method.rawValue) }
    }
    func methods(of path: String) -> [String] {
      methods.withLock { methods in
        methods[path] ?? methods.first { $0.key.hasSuffix("/**") && path.hasPrefix($0.key.dropLast(2)) }?.value ?? []
      }
    }
  }

  init(_ router: Router<ServerContext>, maxBody: Int) {
    self.router = router
    self.maxBody = maxBody
  }

  var methods: @Sendable (String) -> [String] { { [table] in table.methods(of: $0) } }

  func get(
    _ path: String, _ handler: @escaping @Sendable (Request, ServerContext) async throws -> Response
  ) {
    table.add(.get, path)
    table.add(.head, path)
    router.get(RouterPath(path), use: handler)
  }

  func delete(
    _ path: String, _ handler: @escaping @Sendable (Request, ServerContext) async throws -> Response
  ) {
    table.add(.delete, path)
    router.delete(RouterPath(path), use: handler)
  }

  /// A path that takes a JSON object.
  func post(
    _ path: String, _ handler: @escaping @Sendable (RequestFields, ServerContext) async throws -> Response
  ) {
    table.add(.post, path)
    router.post(RouterPath(path)) { [maxBody] request, context in
      try await handler(try await fields(of: request, atMost: maxBody), context)
    }
  }
}

/// The body as JSON, whatever its Content-Type says: `curl -d` calls it a form.
private func fields(of request: Request, atMost limit: Int) async throws -> RequestFields {
  var bytes: [UInt8] = []
  for try await buffer in request.body {
    guard bytes.count + buffer.readableBytes <= limit else { throw Refusal.bodyTooLarge(limit) }
    bytes.append(contentsOf: buffer.readableBytesView)
  }
  if bytes.isEmpty {
    throw Refusal(.invalidRequest, "the body is empty; a JSON object is needed", code: "invalid_json")
  }
  guard String(validating: bytes, as: UTF8.self) != nil else {
    throw Refusal(.invalidRequest, "the body is not UTF-8", code: "invalid_json")
  }
  let json: JSON
  do {
    json = try JSON.parse(bytes, place: "the body")
  } catch {
    throw Refusal(.invalidRequest, error.description(for: .json), code: "invalid_json")
  }
  return try RequestFields(json)
}
