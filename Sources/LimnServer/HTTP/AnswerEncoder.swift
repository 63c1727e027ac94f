import Hummingbird
import HTTPTypes
import LimnCore

extension Response {
  /// A JSON body.
  static func json(_ value: JSON, status: Int = 200) -> Response {
    Response(
      status: .init(code: status), headers: [.contentType: "application/json"],
      body: .init(byteBuffer: ByteBuffer(string: value.serialised(.compact))))
  }

  static func text(_ text: String, type: String = "text/plain; charset=utf-8") -> Response {
    Response(status: .ok, headers: [.contentType: type], body: .init(byteBuffer: ByteBuffer(string: text)))
  }

  static func refusal(_ refusal: Refusal, path: String) -> Response {
    var response = Response.json(APIStyle(path: path).error(refusal), status: refusal.status)
    for (name, value) in refusal.headers {
      if let name = HTTPField.Name(name) { response.headers[name] = value }
    }
    return response
  }
}

/// Turns a job's events into the pieces of a streamed body.
protocol AnswerEncoder: Sendable {
  static var contentType: String { get }
  /// What keeps a silent connection open; nil where an API has no room for that.
  static var ping: String? { get }
  /// Nothing, for an event that this API does not show.
  mutating func encode(_ event: AnswerRunEvent) -> String
  /// After the last event.
  mutating func end() -> String
  /// In place of the end.
  mutating func failure(_ refusal: Refusal) -> String
}

extension AnswerEncoder {
  static var contentType: String { "text/event-stream; charset=utf-8" }
  static var ping: String? { ": ping\n\n" }
}

extension Response {
  /// Streams a run in the words of an API.
  static func stream(_ run: AnswerRun, as encoder: some AnswerEncoder) -> Response {
    stream(run, type: type(of: encoder).contentType) { encoder }
  }

  private static func stream<Encoder: AnswerEncoder>(
    _ run: AnswerRun, type: String, _ make: @escaping @Sendable () -> Encoder
  ) -> Response {
    let body = ResponseBody { writer in
      var encoder = make()
      defer { run.cancel() }
      do {
        for try await event in run.events {
          var piece = encoder.encode(event)
          if case .tick = event { piece += Encoder.ping ?? "" }
          if !piece.isEmpty { try await writer.write(ByteBuffer(string: piece)) }
        }
        try await writer.write(ByteBuffer(string: encoder.end()))
      } catch let refusal as Refusal {
        try await writer.write(ByteBuffer(string: encoder.failure(refusal)))
      }
      try await writer.finish(nil)
    }
    let headers: HTTPFields = [.contentType: type, .cacheControl: "no-store"]
    return Response(status: .ok, headers: headers, body: body)
  }
}

/// One server-sent event.
func serverSentEvent(_ data: JSON, name: String? = nil) -> String {
  (name.map { "event: \($0)\n" } ?? "") + "data: \(data.serialised(.compact))\n\n"
}
