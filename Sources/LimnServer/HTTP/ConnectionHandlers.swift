import Foundation
import LimnCore
import NIOCore
import NIOHTTP1

/// Refuses what is wrong about a request before anything reads it: broken framing, a body that is too large, one that
/// comes too slowly. Everything else passes.
final class RequestGuard: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    /// Between two requests, or in the middle of a head.
    case head
    case body(received: Int)
    /// The body is larger than allowed. Its reader has refused it; the rest is thrown away.
    case excess
    /// Refused: what comes is thrown away.
    case refused
  }

  private let maxBody: Int
  private var state = State.head
  private var timer: Scheduled<Void>?

  /// For a whole head, and between two pieces of a body.
  private static let patience = TimeAmount.seconds(30)
  /// How long a refused client may go on sending, so that it can read why.
  private static let farewell = TimeAmount.seconds(2)

  init(maxBody: Int) { self.maxBody = maxBody }

  func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { wait(context) } }
  func channelActive(context: ChannelHandlerContext) {
    wait(context)
    context.fireChannelActive()
  }

  func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    context.fireChannelInactive()
  }

  /// Closes the connection unless something comes in time.
  private func wait(_ context: ChannelHandlerContext, for time: TimeAmount = patience) {
    timer?.cancel()
    let channel = context.channel
    timer = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), state) {
    case (_, .refused): return
    case (.head(let head), _):
      if let refusal = refusal(of: head) { return refuse(context, head, refusal) }
      state = .body(received: 0)
      wait(context)
      if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
        context.writeAndFlush(wrapOutboundOut(.head(.init(version: head.version, status: .continue))), promise: nil)
      }
    case (.body(let buffer), .body(let received)):
      let received = received + buffer.readableBytes
      state = received > maxBody ? .excess : .body(received: received)
      wait(context, for: received > maxBody ? Self.farewell : Self.patience)
    case (.body, .head), (.body, .excess): return
    case (.end, _):
      state = .head
      timer?.cancel()
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) {
      // For the next head; an idle connection is closed by the server's own handler as well.
      if case .head = state { wait(context, for: .seconds(75)) }
    }
    context.write(data, promise: promise)
  }

  // MARK: Refusing

  private func refusal(of head: HTTPRequestHead) -> Refusal? {
    let headers = head.headers
    let lengths = headers["content-length"]
    if headers["host"].count != 1 { return Refusal(.invalidRequest, "a request needs exactly one Host header") }
    if lengths.count > 1 || !lengths.isEmpty && headers.contains(name: "transfer-encoding") {
      return Refusal(.invalidRequest, "the length of the body is given twice")
    }
    if let text = lengths.first {
      guard let length = Int(text), length >= 0 else {
        // One with more digits than a number holds is merely too large.
        let isNumber = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        return isNumber ? .bodyTooLarge(maxBody) : Refusal(.invalidRequest, "Content-Length is no number")
      }
      if length > maxBody { return .bodyTooLarge(maxBody) }
    }
    return nil
  }

  private func refuse(_ context: ChannelHandlerContext, _ head: HTTPRequestHead, _ refusal: Refusal) {
    state = .refused
    let body = APIStyle(path: head.uri).error(refusal).serialised()
    let headers: HTTPHeaders = [
      "Content-Type": "application/json", "Content-Length": String(body.utf8.count), "Connection": "close",
    ]
    let response = HTTPResponseHead(
      version: .http1_1, status: .init(statusCode: refusal.status), headers: headers)
    context.write(wrapOutboundOut(.head(response)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
    let channel = context.channel
    let flushed = context.eventLoop.makePromise(of: Void.self)
    flushed.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: flushed)
    // A connection that is closed with unread input is reset, and the client may lose the answer.
    wait(context, for: Self.farewell)
    context.read()
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    context.fireChannelReadComplete()
    if case .refused = state { context.read() }
  }
}

extension Refusal {
  static func bodyTooLarge(_ limit: Int) -> Refusal {
    Refusal(
      .tooLarge, "the body is too large: this server takes at most \(limit) bytes (--max-body)",
      code: "request_too_large")
  }
}

/// Notices that a client has closed its connection, also while nothing is written to it.
final class DepartureWatch: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = Any

  let departure = Departure()

  func channelInactive(context: ChannelHandlerContext) {
    departure.leave()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    departure.leave()
    context.fireErrorCaught(error)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent { departure.leave() }
    context.fireUserInboundEventTriggered(event)
  }
}
