package import Limn

/// How a server is run.
package struct ServerOptions: Sendable {
  /// Models as the person who started the server names them; empty: the demo model.
  package var models: [String] = []
  package var load = LoadOptions()
  package var host = "127.0.0.1"
  package var port = 8420
  /// A Unix socket to listen at instead.
  package var socket: String?
  /// Requests that are answered at the same time.
  package var parallel = 4
  /// Requests that wait besides those.
  package var queue = 64
  /// The longest body of a request, in bytes.
  package var maxBody = 100 << 20
  /// Keys of which a request must bring one; empty: none is needed.
  package var apiKeys: [String] = []
  /// Names, besides this machine's own, by which clients may call the server.
  package var hostNames: [String] = []
  /// Pages that may use the server from a browser: "https://chat.example.org".
  package var origins: [String] = []
  /// Whether pictures may be fetched from addresses that are not on the public internet.
  package var allowsPrivateURLs = false
  /// Seconds that an answer may take.
  package var timeout = 600.0
  /// Seconds that running answers get when the server is asked to end.
  package var grace = 30.0
  /// Bytes that loaded models may take together; nil: four fifths of the machine's memory.
  package var memory: Int?
  /// Seconds after which an unused model is closed; nil: never.
  package var ttl: Double? = 1800
  package var log = Log.text
  package var version = Limn.version

  /// How requests are logged on standard error.
  package enum Log: String, Sendable, CaseIterable {
    /// A line that a person reads.
    case text
    case json
    case none
  }

  package init() {}
}
