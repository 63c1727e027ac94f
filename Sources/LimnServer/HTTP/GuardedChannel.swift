import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// HTTP/1.1 connections with the guards of this server in their pipeline.
struct GuardedChannel: HTTPChannelHandler {
  typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

  let responder: HTTPChannelHandler.Responder
  let maxBody: Int
  let connections: Connections

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      var limits = NIOHTTPDecoderLimitConfiguration()
      limits.maxHeaderFieldSize = 32 << 10
      limits.maxHeaderListSize = 64 << 10
      limits.maxHeaderFieldCount = 200
      let encoder = HTTPResponseEncoder()
      let decoder = ByteToMessageHandler(
        HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits))
      let requests = RequestGuard(maxBody: maxBody)
      let idleness = HTTPConnectionStateHandler(idleTimeout: .seconds(75), logger: logger)
      let pipeline = channel.pipeline.syncOperations
      try pipeline.addHandlers([
        encoder, decoder, requests,
        WebSocketUpgrade(maxMessage: maxBody, replaces: [requests, encoder, decoder, idleness]),
        HTTP1ToHTTPServerCodec(secure: false), DepartureWatch(), idleness,
      ])
      // After everything else, so that a connection that is not wanted ends like any other.
      defer { connections.admit(channel) }
      return try NIOAsyncChannel(
        wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
    }
  }

  func handle(value: Value, logger: Logger) async { await handleHTTP(asyncChannel: value, logger: logger) }
}
