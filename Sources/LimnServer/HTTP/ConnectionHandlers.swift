import Foundation
import LimnCore
package import NIOCore
package import NIOHTTP1

/// Refuses what is wrong about a request before anything reads it: broken framing, a body that is too large, one that
/// comes too slowly. Everything else passes. Gives up a client that does not read its answer, and ends the answer for one
/// of HTTP/1.0 as that version does.
package final class RequestGuard: ChannelDuplexHandler, RemovableChannelHandler {
  package typealias InboundIn = HTTPServerRequestPart
  package typealias InboundOut = HTTPServerRequestPart
  package typealias OutboundIn = HTTPServerResponsePart
  package typealias OutboundOut = HTTPServerResponsePart

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
  /// Runs while the client reads nothing of what is written.
  private var stall: Scheduled<Void>?
  private var speaksOldHTTP = false

  /// For a whole head, and between two pieces of a body.
  private static let patience = TimeAmount.seconds(30)
  /// How long a client may read nothing of its answer.
  private static let readingPatience = TimeAmount.seconds(60)
  /// How long a refused client may go on sending, so that it can read why.
  private static let farewell = TimeAmount.seconds(2)

  package init(maxBody: Int) { self.maxBody = maxBody }

  package func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { wait(context) } }
  package func channelActive(context: ChannelHandlerContext) {
    wait(context)
    context.fireChannelActive()
  }

  package func handlerRemoved(context: ChannelHandlerContext) { stopWaiting() }

  package func channelInactive(context: ChannelHandlerContext) {
    stopWaiting()
    context.fireChannelInactive()
  }

  private func stopWaiting() {
    timer?.cancel()
    stall?.cancel()
  }

  package func channelWritabilityChanged(context: ChannelHandlerContext) {
    stall?.cancel()
    let channel = context.channel
    if !channel.isWritable {
      stall = context.eventLoop.scheduleTask(in: Self.readingPatience) { channel.close(promise: nil) }
    }
    context.fireChannelWritabilityChanged()
  }

  /// Closes the connection unless something comes in time.
  private func wait(_ context: ChannelHandlerContext, for time: TimeAmount = patience) {
    timer?.cancel()
    let channel = context.channel
    timer = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), state) {
    case (_, .refused): return
    case (.head(let head), _):
      speaksOldHTTP = head.version == .http1_0
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

  package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(var head) where speaksOldHTTP:
      // Without a length, the end of the connection is the end of the body.
      head.version = .http1_0
      head.headers.replaceOrAdd(name: "connection", value: "close")
      context.write(wrapOutboundOut(.head(head)), promise: promise)
    case .end where speaksOldHTTP:
      let promise = promise ?? context.eventLoop.makePromise()
      let channel = context.channel
      promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
      context.write(data, promise: promise)
    case .end:
      // For the next head; an idle connection is closed by the server's own handler as well.
      if case .head = state { wait(context, for: .seconds(75)) }
      context.write(data, promise: promise)
    default: context.write(data, promise: promise)
    }
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

  package func channelReadComplete(context: ChannelHandlerContext) {
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
