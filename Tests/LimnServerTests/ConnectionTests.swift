import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

import LimnServer

@Suite("Connections")
struct ConnectionTests {
  private let channel: EmbeddedChannel

  init() throws {
    channel = EmbeddedChannel(handler: RequestGuard(maxBody: 100))
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
  }

  private func ask(_ version: HTTPVersion) throws {
    let head = HTTPRequestHead(version: version, method: .GET, uri: "/health", headers: ["Host": "localhost"])
    try channel.writeInbound(HTTPServerRequestPart.head(head))
    try channel.writeInbound(HTTPServerRequestPart.end(nil))
  }

  private func answer() throws -> HTTPResponseHead {
    try channel.writeOutbound(HTTPServerResponsePart.head(HTTPResponseHead(version: .http1_1, status: .ok)))
    try channel.writeOutbound(HTTPServerResponsePart.end(nil))
    guard case .head(let head)? = try channel.readOutbound(as: HTTPServerResponsePart.self) else {
      throw ChannelError.inappropriateOperationForState
    }
    return head
  }

  @Test("an answer to HTTP/1.0 is of that version, and the connection ends with it")
  func oldHTTP() throws {
    try ask(.http1_0)
    let head = try answer()
    #expect(head.version == .http1_0 && head.headers["connection"] == ["close"])
    #expect(!channel.isActive)
  }

  @Test("a connection of HTTP/1.1 stays for the next request")
  func newHTTP() throws {
    for _ in 0..<2 {
      try ask(.http1_1)
      #expect(try answer().version == .http1_1 && channel.isActive)
      _ = try channel.readOutbound(as: HTTPServerResponsePart.self)
    }
  }

  @Test("a client that reads nothing for a minute is given up, one that reads again is not")
  func stalled() throws {
    try ask(.http1_1)
    channel.isWritable = false
    channel.pipeline.fireChannelWritabilityChanged()
    channel.embeddedEventLoop.advanceTime(by: .seconds(59))
    #expect(channel.isActive)
    channel.isWritable = true
    channel.pipeline.fireChannelWritabilityChanged()
    channel.embeddedEventLoop.advanceTime(by: .seconds(120))
    #expect(channel.isActive)
    channel.isWritable = false
    channel.pipeline.fireChannelWritabilityChanged()
    channel.embeddedEventLoop.advanceTime(by: .seconds(61))
    #expect(!channel.isActive)
  }
}
