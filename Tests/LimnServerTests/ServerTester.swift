import Foundation
import HTTPTypes
import Hummingbird
import Limn
import LimnCore
import LimnServer
import Logging
import NIOCore
import NIOEmbedded

/// Asks a server's routes, without sockets.
struct ServerTester {
  private let responder: any HTTPResponder<ServerContext>
  let server: LimnServer

  init(_ change: (inout ServerOptions) -> Void = { _ in }) throws {
    var options = ServerOptions()
    options.log = .none
    change(&options)
    server = try LimnServer(options)
    responder = server.router().buildResponder()
  }

  struct Reply {
    let status: Int
    let headers: HTTPFields
    let body: String

    var json: JSON { get throws { try JSON.parse(body, place: "the response") } }
    /// The data of server-sent events, with their names.
    var events: [(name: String?, data: String)] {
      body.components(separatedBy: "\n\n").filter { $0.contains("data: ") }.map { block in
        let lines = block.split(separator: "\n")
        let name = lines.first { $0.hasPrefix("event: ") }.map { String($0.dropFirst(7)) }
        return (name, lines.filter { $0.hasPrefix("data: ") }.map { $0.dropFirst(6) }.joined())
      }
    }
  }

  func get(_ path: String, method: HTTPRequest.Method = .get, headers: HTTPFields = [:], host: String = "localhost")
    async throws -> Reply
  {
    try await send(method, path, headers, host, "")
  }

  func post(_ path: String, _ body: JSON, headers: HTTPFields = [:], host: String = "localhost") async throws -> Reply {
    try await send(.post, path, headers, host, body.serialised())
  }

  func send(
    _ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields, _ host: String, _ body: String
  ) async throws -> Reply {
    try await send(method, path, headers, host, .init(buffer: ByteBuffer(string: body))).reply
  }

  /// Asks for a WebSocket, and closes it at once.
  func open(_ path: String, headers: HTTPFields = [:], host: String = "localhost") async throws -> Reply {
    try await open(path, headers, host, []).reply
  }

  /// What a WebSocket answers to messages that are sent all at once.
  func socket(_ path: String, greets: Bool = true, _ messages: [JSON]) async throws -> [JSON] {
    let greeting: JSON = .object([
      "authVersion": .integer(1), "clientIdentifier": "test", "clientPasskey": "test",
    ])
    let pieces = try await open(path, [:], "localhost", greets ? [greeting] + messages : messages).pieces
    let replies = try pieces.map { try JSON.parse(String(buffer: $0), place: "a message") }
    return Array(replies.dropFirst(greets ? 1 : 0))
  }

  private func open(
    _ path: String, _ headers: HTTPFields, _ host: String, _ messages: [JSON]
  ) async throws -> (reply: Reply, pieces: [ByteBuffer]) {
    var all: HTTPFields = [
      .connection: "Upgrade", .upgrade: "websocket", .secWebSocketVersion: "13",
      .secWebSocketKey: "AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    for field in headers { all[field.name] = field.value }
    let body = AsyncStream { continuation in
      for message in messages { continuation.yield(ByteBuffer(string: message.serialised())) }
      continuation.finish()
    }
    return try await send(.get, path, all, host, .init(asyncSequence: body))
  }

  private func send(
    _ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields, _ host: String, _ body: RequestBody
  ) async throws -> (reply: Reply, pieces: [ByteBuffer]) {
    let head = HTTPRequest(method: method, scheme: "http", authority: host, path: path, headerFields: headers)
    let request = Hummingbird.Request(head: head, body: body)
    let channel = NIOAsyncTestingChannel()
    let context = ServerContext(source: .init(channel: channel, logger: Logger(label: "test")))
    let response = try await responder.respond(to: request, context: context)
    let written = Written()
    try await response.body.write(Writer(written: written))
    let text = written.pieces.map { String(buffer: $0) }.joined()
    return (Reply(status: response.status.code, headers: response.headers, body: text), written.pieces)
  }

  private final class Written: @unchecked Sendable {
    // One task writes, and reads when it is done.
    var pieces: [ByteBuffer] = []
  }

  private struct Writer: ResponseBodyWriter {
    let written: Written
    mutating func write(_ buffer: ByteBuffer) async throws { written.pieces.append(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
  }
}

/// The demo model's name, and a picture that it knows, with a question.
enum Scene {
  static let model = "limn-demo"
  static let question = "What is the weather like?"
  static var picture: [UInt8] {
    get throws { Array(try Data(contentsOf: Self.folder.appending(path: "Examples/camp.png"))) }
  }
  static var base64: String { get throws { Data(try picture).base64EncodedString() } }
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// What the library answers.
  static func answer() async throws -> Answer {
    let model = try await VisionLanguageModel.load(try DemoModel.path())
    return try await model.ask(question, images: [.data(try picture, name: "camp.png")])
  }

  static func chat(_ more: JSONObject = [:]) throws -> JSON {
    var object: JSONObject = [
      "model": .string(model),
      "messages": .array([
        .object([
          "role": "user",
          "content": .array([
            .object(["type": "text", "text": .string(question)]),
            .object([
              "type": "image_url", "image_url": .object(["url": .string("data:image/png;base64," + (try base64))]),
            ]),
          ]),
        ])
      ]),
    ]
    for (key, value) in more.members { object.set(key, to: value) }
    return .object(object)
  }
}
