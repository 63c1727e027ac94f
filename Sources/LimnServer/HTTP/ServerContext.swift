package import Hummingbird
import NIOCore

/// What belongs to one request.
package struct ServerContext: RequestContext {
  package var coreContext: CoreRequestContextStorage
  let channel: any Channel
  /// The key that the request brought, as far as it is told apart from others'.
  var keyName: String?

  package init(source: Source) {
    coreContext = .init(source: source)
    channel = source.channel
  }

  /// The client's address, or "local" at a Unix socket.
  var address: String { channel.remoteAddress?.ipAddress ?? "local" }

  /// Who asks, and how it is noticed that they leave.
  func caller() async -> Caller {
    let departure = try? await channel.eventLoop.submit { [channel] in
      try channel.pipeline.syncOperations.handler(type: DepartureWatch.self).departure
    }.get()
    departure?.clear()
    return Caller(name: keyName ?? address, departure: departure ?? Departure())
  }
}
