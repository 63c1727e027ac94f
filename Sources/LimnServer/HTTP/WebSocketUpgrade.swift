import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Makes a connection a WebSocket when a request for that is answered with 101.
///
/// To everything behind it the socket is still one request and its response, whose bodies last as long as the socket:
/// each message of the client is a piece of the request's body, and each piece of the response's body is a message to
/// the client. So the same rules, the same log and the same way of noticing that a client has left hold for both.
final class WebSocketUpgrade: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    case http
    /// A request for another protocol came. HTTP's decoder reads nothing after it.
    case asked
    /// It was for a WebSocket: its end is kept back, since messages may follow.
    case open
  }

  private let maxMessage: Int
  private let replaced: [any RemovableChannelHandler]
  private var state = State.http

  /// - Parameters:
  ///   - maxMessage: the longest message, in bytes.
  ///   - replaces: what serves HTTP only. Whoever reads what the decoder gives must come before it: bytes that it has not
  ///     used yet go to the next handler.
  init(maxMessage: Int, replaces replaced: [any RemovableChannelHandler]) {
    self.maxMessage = maxMessage
    self.replaced = replaced
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): state = Self.state(after: head)
    case .end: if case .open = state { return }
    case .body: break
    }
    context.fireChannelRead(data)
  }

  private static func state(after head: HTTPRequestHead) -> State {
    let headers = head.headers
    guard headers.contains(name: "upgrade"),
      headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" })
    else { return .http }
    let isSocket = headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
    return isSocket && head.method == .GET ? .open : .asked
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch (unwrapOutboundIn(data), state) {
    case (_, .http): context.write(data, promise: promise)
    case (.head(let head), .open) where head.status == .switchingProtocols:
      context.writeAndFlush(data, promise: promise)
      upgrade(context)
    case (.head(var head), _):
      // Nothing else can be asked on this connection.
      head.headers.replaceOrAdd(name: "connection", value: "close")
      context.write(wrapOutboundOut(.head(head)), promise: promise)
    case (.end, _):
      let promise = promise ?? context.eventLoop.makePromise()
      let channel = context.channel
      promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
      context.writeAndFlush(data, promise: promise)
    case (.body, _): context.write(data, promise: promise)
    }
  }

  private func upgrade(_ context: ChannelHandlerContext) {
    let pipeline = context.pipeline.syncOperations
    do {
      let frames = ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: min(maxMessage, Int(UInt32.max))))
      try pipeline.addHandler(IdleStateHandler(readTimeout: WebSocketMessages.patience), position: .first)
      try pipeline.addHandlers(
        [WebSocketFrameEncoder(), frames, WebSocketMessages(maxMessage: maxMessage)], position: .before(self))
      for handler in replaced { pipeline.removeHandler(handler, promise: nil) }
      pipeline.removeHandler(context: context, promise: nil)
      // Messages that came along with the request go on when HTTP's decoder has left, in this loop's next turn.
      let channel = context.channel
      context.eventLoop.execute { channel.pipeline.fireChannelReadComplete() }
    } catch {
      context.fireErrorCaught(error)
      context.close(promise: nil)
    }
  }
}
