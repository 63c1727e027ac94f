import Foundation
import HTTPTypes
import Hummingbird
import LimnCore
import Logging

/// A line for each request: when, what, how it ended, how long it took. Never bodies, pictures or keys.
struct AccessLog: RouterMiddleware {
  let form: ServerOptions.Log

  func handle(
    _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    let id = Self.id(request)
    var response = try await next(request, context)
    response.headers[.requestID] = id
    if form == .none { return response }
    // Streams go on after this: their line comes when the last byte is written.
    let (status, isJSON, address) = (response.status.code, form == .json, context.address)
    let (method, path) = (request.method.rawValue, request.uri.path)
    response.body = response.body.ending {
      let seconds = ContinuousClock.now.secondsSince(start)
      Self.write(isJSON, method, path, status, seconds, address, id)
    }
    return response
  }

  private static func id(_ request: Request) -> String {
    "req_" + String(UInt64.random(in: .min ... .max), radix: 36)
  }

  private static func write(
    _ isJSON: Bool, _ method: String, _ path: String, _ status: Int, _ seconds: Double, _ address: String, _ id: String
  ) {
    // Health checks come every few seconds and say nothing.
    if path == "/health", status == 200 { return }
    let line: String
    if isJSON {
      line = JSON.object([
        "time": .string(Date.now.ISO8601Format()), "method": .string(method),
        "path": .string(LimnError.printable(path)),
        "status": .integer(status), "seconds": .number((seconds * 1000).rounded() / 1000), "client": .string(address),
        "request_id": .string(id),
      ]).serialised()
    } else {
      let time = Date.now.formatted(.iso8601.time(includingFractionalSeconds: false).timeSeparator(.colon))
      let duration = seconds < 1 ? "\(Int(seconds * 1000)) ms" : "\((seconds * 10).rounded() / 10) s"
      line = "\(time)  \(status)  \(method) \(LimnError.printable(path))  \(duration)  \(address)"
    }
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}

extension HTTPField.Name {
  static let requestID = HTTPField.Name("X-Request-Id")!
}

extension ResponseBody {
  /// The same body, with an action after its last byte, also where the client leaves before it.
  func ending(_ action: @escaping @Sendable () -> Void) -> ResponseBody {
    let body = self
    return ResponseBody(contentLength: contentLength) { writer in
      defer { action() }
      try await body.write(writer)
    }
  }
}
