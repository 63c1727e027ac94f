import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import LimnCore

extension Routes {
  /// A path where WebSockets are opened.
  /// - Parameter serve: gets what the client sends, a buffer for each message, and a function that sends one to it.
  ///   The socket is closed when it returns.
  func socket(
    _ path: String, _ summary: String,
    _ serve: @escaping @Sendable (RequestBody, ServerContext, @escaping @Sendable (JSON) -> Void) async -> Void
  ) {
    get(path, .socket(summary)) { request, context in
      let headers = try WebSocketHandshake.headers(for: request)
      let body = ResponseBody { writer in
        let (messages, outbox) = AsyncStream.makeStream(of: JSON.self)
        async let end: Void = {
          await serve(request.body, context) { outbox.yield($0) }
          outbox.finish()
        }()
        for await message in messages { try await writer.write(ByteBuffer(string: message.serialised(.compact))) }
        await end
        try await writer.finish(nil)
      }
      return Response(status: .switchingProtocols, headers: headers, body: body)
    }
  }
}

/// The opening handshake of RFC 6455.
private enum WebSocketHandshake {
  /// The headers that agree to a socket.
  static func headers(for request: Request) throws(Refusal) -> HTTPFields {
    let headers = request.headers
    guard request.method == .get, lists("websocket", in: headers[values: .upgrade]),
      lists("upgrade", in: headers[values: .connection])
    else {
      throw refusal("this path takes WebSockets only")
    }
    guard headers[.secWebSocketVersion] == "13" else { throw refusal("Sec-WebSocket-Version must be 13") }
    guard let key = headers[.secWebSocketKey], Data(base64Encoded: key)?.count == 16 else {
      throw Refusal(.invalidRequest, "Sec-WebSocket-Key must be 16 bytes in base64")
    }
    let digest = Insecure.SHA1.hash(data: Data((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8))
    return [
      .upgrade: "websocket", .connection: "upgrade", .secWebSocketAccept: Data(digest).base64EncodedString(),
    ]
  }

  private static func lists(_ word: String, in values: [String]) -> Bool {
    values.contains {
      $0.split(separator: ",").contains { $0.trimmingCharacters(in: .whitespaces).lowercased() == word }
    }
  }

  private static func refusal(_ message: String) -> Refusal {
    var refusal = Refusal(.upgradeRequired, message, code: "upgrade_required")
    refusal.headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    return refusal
  }
}
