import Foundation
import HTTPTypes
import Hummingbird
import LimnCore
import Synchronization

/// Routes as the APIs add them, with what is needed to describe them and to say which methods a path takes.
struct Routes {
  let router: Router<ServerContext>
  let maxBody: Int
  /// A few of the largest bodies at the same time.
  private let budget: BodyBudget
  let table = Table()

  struct Entry {
    let method: HTTPRequest.Method
    let path: String
    let endpoint: Endpoint
  }

  final class Table: Sendable {
    private let added = Mutex<[Entry]>([])

    var entries: [Entry] { added.withLock { $0 } }

    func add(_ method: HTTPRequest.Method, _ path: String, _ endpoint: Endpoint) {
      added.withLock { $0.append(Entry(method: method, path: path, endpoint: endpoint)) }
    }

    func methods(of path: String) -> [String] {
      let exact = entries.filter { $0.path == path }
      let wild = entries.filter { $0.path.hasSuffix("/**") && path.hasPrefix($0.path.dropLast(2)) }
      return (exact.isEmpty ? wild : exact).map(\.method.rawValue)
    }
  }

  init(_ router: Router<ServerContext>, maxBody: Int) {
    self.router = router
    self.maxBody = maxBody
    budget = BodyBudget(most: 8 * maxBody)
  }

  func get(
    _ path: String, _ endpoint: Endpoint,
    _ handler: @escaping @Sendable (Request, ServerContext) async throws -> Response
  ) {
    table.add(.get, path, endpoint)
    table.add(.head, path, endpoint)
    router.get(RouterPath(path), use: handler)
  }

  /// A path that takes a JSON object.
  func post(
    _ path: String, _ endpoint: Endpoint,
    _ handler: @escaping @Sendable (RequestFields, ServerContext) async throws -> Response
  ) {
    table.add(.post, path, endpoint)
    router.post(RouterPath(path)) { [maxBody, budget] request, context in
      let claim = budget.claim()
      return try await BodyBudget.Claim.$current.withValue(claim) {
        try await handler(try await fields(of: request, atMost: maxBody, claim), context)
      }
    }
  }

  /// A path of an API that this server does not have.
  func refuse(_ method: HTTPRequest.Method, _ path: String, _ summary: String, because reason: String) {
    table.add(method, path, .refused(summary))
    router.on(RouterPath(path), method: method) { _, _ -> Response in throw Refusal(.notImplemented, reason) }
  }
}

/// The body as JSON, whatever its Content-Type says: `curl -d` calls it a form.
private func fields(
  of request: Request, atMost limit: Int, _ claim: BodyBudget.Claim
) async throws -> RequestFields {
  var bytes: [UInt8] = []
  do {
    for try await buffer in request.body {
      guard bytes.count + buffer.readableBytes <= limit else { throw Refusal.bodyTooLarge(limit) }
      try claim.add(buffer.readableBytes)
      bytes.append(contentsOf: buffer.readableBytesView)
    }
  } catch {
    if error is Refusal || error is CancellationError { throw error }
    throw Refusal(.invalidRequest, "the body ends early, or its chunks are malformed", code: "invalid_body")
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
  if let place = json.placeOfInfinity {
    let name = LimnError.printable(String(place.drop { $0 == "." }))
    throw Refusal.invalid(name, "\(name) is too large for a number")
  }
  return try RequestFields(json)
}

extension JSON {
  /// Where a number is that is too large to be kept; nil if there is none. An answer that repeats what was asked could
  /// not write it back.
  fileprivate var placeOfInfinity: String? {
    switch self {
    case .number(let number): return number.isFinite ? nil : ""
    case .array(let items):
      for (index, item) in items.enumerated() { if let rest = item.placeOfInfinity { return "[\(index)]" + rest } }
      return nil
    case .object(let object):
      for (key, value) in object.members { if let rest = value.placeOfInfinity { return ".\(key)" + rest } }
      return nil
    default: return nil
    }
  }
}
