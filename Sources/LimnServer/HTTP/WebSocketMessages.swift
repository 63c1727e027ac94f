package import NIOCore
package import NIOHTTP1
package import NIOWebSocket

/// Frames to messages and back. Messages are pieces of the bodies of the request that opened the socket.
package final class WebSocketMessages: ChannelDuplexHandler {
  package typealias InboundIn = WebSocketFrame
  package typealias InboundOut = HTTPServerRequestPart
  package typealias OutboundIn = HTTPServerResponsePart
  package typealias OutboundOut = WebSocketFrame

  /// How long a client may be silent before it is asked for a sign of life, and then until it is given up.
  static let patience = TimeAmount.seconds(30)
  /// How long the other side has to close after this one has.
  private static let farewell = TimeAmount.seconds(2)

  private let maxMessage: Int
  /// The beginning of a message in several frames.
  private var beginning: ByteBuffer?
  /// A close frame was sent: what comes is thrown away.
  private var isClosing = false
  private var awaitsSign = false
  private var isQuiescing = false

  package init(maxMessage: Int) { self.maxMessage = maxMessage }

  // MARK: From the client

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    awaitsSign = false
    if isClosing {
      if frame.opcode == .connectionClose { context.close(promise: nil) }
      return
    }
    // Clients mask their frames, and no extension was agreed on.
    guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else { return close(context, .protocolError) }
    switch frame.opcode {
    case .text where beginning == nil, .binary where beginning == nil, .continuation where beginning != nil:
      take(context, frame)
    case .ping:
      // A client that does not read gets no more of these.
      guard context.channel.isWritable else { return }
      send(context, .pong, frame.unmaskedData)
    case .pong: break
    case .connectionClose:
      close(context, .normalClosure)
      context.close(promise: nil)
    default: close(context, .protocolError)
    }
  }

  private func take(_ context: ChannelHandlerContext, _ frame: WebSocketFrame) {
    var data = frame.unmaskedData
    if beginning != nil {
      beginning?.writeBuffer(&data)
    } else {
      beginning = data
    }
    guard let message = beginning, message.readableBytes <= maxMessage else { return close(context, .messageTooLarge) }
    guard frame.fin else { return }
    beginning = nil
    if !isQuiescing { context.fireChannelRead(wrapInboundOut(.body(message))) }
  }

  package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case IdleStateHandler.IdleStateEvent.read:
      if awaitsSign || isClosing { return context.close(promise: nil) }
      awaitsSign = true
      send(context, .ping, ByteBuffer())
    case is ChannelShouldQuiesceEvent:
      // The server is stopping. What was begun is finished; then the response ends.
      guard !isQuiescing else { return }
      isQuiescing = true
      context.fireChannelRead(wrapInboundOut(.end(nil)))
      context.fireChannelReadComplete()
    case ChannelEvent.inputClosed:
      context.fireUserInboundEventTriggered(event)
      context.close(promise: nil)
    default: context.fireUserInboundEventTriggered(event)
    }
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOWebSocketError.invalidFrameLength: close(context, .messageTooLarge)
    case is NIOWebSocketError: close(context, .protocolError)
    default:
      context.fireErrorCaught(error)
      context.close(promise: nil)
    }
  }

  // MARK: To the client

  package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isClosing else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    switch unwrapOutboundIn(data) {
    case .body(.byteBuffer(let message)):
      context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .text, data: message)), promise: promise)
    case .end:
      close(context, .normalClosure)
      promise?.succeed()
    case .head, .body: promise?.succeed()
    }
  }

  private func send(_ context: ChannelHandlerContext, _ opcode: WebSocketOpcode, _ data: ByteBuffer) {
    context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: nil)
  }

  private func close(_ context: ChannelHandlerContext, _ code: WebSocketErrorCode) {
    guard !isClosing else { return }
    isClosing = true
    beginning = nil
    var data = ByteBuffer()
    data.write(webSocketErrorCode: code)
    send(context, .connectionClose, data)
    let channel = context.channel
    context.eventLoop.scheduleTask(in: Self.farewell) { channel.close(promise: nil) }
  }
}
