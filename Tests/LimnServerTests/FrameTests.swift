import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOWebSocket
import Testing

import LimnServer

@Suite("Frames of WebSockets")
struct FrameTests {
  private let channel: EmbeddedChannel

  init() throws {
    channel = EmbeddedChannel(handler: WebSocketMessages(maxMessage: 10))
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
  }

  private func receive(
    _ opcode: WebSocketOpcode, _ text: String = "", fin: Bool = true, rsv1: Bool = false, masked: Bool = true
  ) throws {
    let key: WebSocketMaskingKey = [1, 2, 3, 4]
    var data = ByteBuffer(string: text)
    if masked { data.webSocketMask(key) }
    try channel.writeInbound(
      WebSocketFrame(fin: fin, rsv1: rsv1, opcode: opcode, maskKey: masked ? key : nil, data: data))
  }

  /// The next message as the server reads it.
  private func message() throws -> String? {
    guard case .body(let buffer)? = try channel.readInbound(as: HTTPServerRequestPart.self) else { return nil }
    return String(buffer: buffer)
  }

  private func sent() throws -> WebSocketFrame? { try channel.readOutbound(as: WebSocketFrame.self) }

  /// The code with which the socket was closed.
  private func closingCode() throws -> WebSocketErrorCode? {
    guard let frame = try sent(), frame.opcode == .connectionClose else { return nil }
    var data = frame.data
    return data.readWebSocketErrorCode()
  }

  @Test("a message may come in several frames, with a ping among them")
  func fragments() throws {
    try receive(.text, "", fin: false)
    try receive(.continuation, "one ", fin: false)
    try receive(.ping, "hi")
    try receive(.continuation, "two")
    #expect(try message() == "one two")
    let pong = try #require(try sent())
    #expect(pong.opcode == .pong)
    #expect(String(buffer: pong.data) == "hi")
    try receive(.binary, "three")
    #expect(try message() == "three")
  }

  @Test("a message that is too large closes the socket with 1009, in one frame or in several")
  func large() throws {
    try receive(.text, "123456", fin: false)
    try receive(.continuation, "78901", fin: false)
    #expect(try closingCode() == .messageTooLarge)
    try receive(.text, "more")
    #expect(try message() == nil)

    let other = try FrameTests()
    other.channel.pipeline.fireErrorCaught(NIOWebSocketError.invalidFrameLength)
    #expect(try other.closingCode() == .messageTooLarge)
  }

  @Test("frames that no client may send close the socket with 1002")
  func wrong() throws {
    let wrong: [(FrameTests) throws -> Void] = [
      { try $0.receive(.text, "a", masked: false) },
      { try $0.receive(.text, "a", rsv1: true) },
      { try $0.receive(.continuation, "a") },
      { try $0.receive(WebSocketOpcode(encodedWebSocketOpcode: 3)!, "a") },
      {
        try $0.receive(.text, "a", fin: false)
        try $0.receive(.text, "b")
      },
    ]
    for send in wrong {
      let test = try FrameTests()
      try send(test)
      #expect(try test.closingCode() == .protocolError)
      #expect(try test.message() == nil)
    }
  }

  @Test("a client's close is answered, and the connection ends")
  func closing() throws {
    try receive(.connectionClose)
    #expect(try closingCode() == .normalClosure)
    #expect(!channel.isActive)
  }

  @Test("a silent client is asked for a sign of life, and given up without one")
  func silence() throws {
    channel.pipeline.fireUserInboundEventTriggered(IdleStateHandler.IdleStateEvent.read)
    #expect(try sent()?.opcode == .ping)
    try receive(.pong)
    channel.pipeline.fireUserInboundEventTriggered(IdleStateHandler.IdleStateEvent.read)
    #expect(try sent()?.opcode == .ping)
    #expect(channel.isActive)
    channel.pipeline.fireUserInboundEventTriggered(IdleStateHandler.IdleStateEvent.read)
    #expect(!channel.isActive)
  }

  @Test("pieces of the response are messages, and its end closes the socket")
  func response() throws {
    try channel.writeOutbound(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: "hello"))))
    let frame = try #require(try sent())
    #expect(frame.opcode == .text && frame.fin && frame.maskKey == nil)
    #expect(String(buffer: frame.data) == "hello")
    try channel.writeOutbound(HTTPServerResponsePart.end(nil))
    #expect(try closingCode() == .normalClosure)
    #expect(channel.isActive)
    try receive(.connectionClose)
    #expect(!channel.isActive)
  }

  @Test("a server that stops takes no further messages, and still sends what was begun")
  func stopping() throws {
    channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    guard case .end? = try channel.readInbound(as: HTTPServerRequestPart.self) else {
      Issue.record("the request's body did not end")
      return
    }
    try receive(.text, "late")
    #expect(try message() == nil)
    try channel.writeOutbound(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: "begun"))))
    #expect(try sent()?.opcode == .text)
  }
}
