import Foundation
package import LimnCore

/// One HTTP request, whose response body is delivered piece by piece as it arrives.
///
/// The system's libcurl does the work, on a thread of its own. As with the command `curl`, proxies come from the
/// environment (`http_proxy`, `https_proxy`, `no_proxy`) and passwords from `~/.netrc`.
package struct Transfer: Sendable {
  package enum Method: Sendable {
    case get, head
    case post([UInt8])
  }

  /// What a transfer may cost before it is abandoned. Time during which the machine sleeps does not count.
  package struct Limits: Sendable {
    /// Size of the body, after decompression.
    package var bytes = 100 << 20
    /// For name resolution, connecting and the TLS handshake together.
    package var connect = Limits.usualPatience
    /// The longest silence of the server.
    package var silence = Limits.usualPatience
    /// After this time the average since the start must be at least `bytesPerSecond`; 0 turns this off.
    package var patience = Limits.usualPatience
    package var bytesPerSecond = 16 << 10

    /// How long people wait for a picture that they asked for; servers that make it on demand take their time.
    package static let usualPatience = Duration.seconds(30)

    /// - Parameter patience: for connecting, for silences, and until the server must keep pace.
    package init(patience: Duration = Limits.usualPatience) {
      connect = patience
      silence = patience
      self.patience = patience
    }
  }

  package typealias Begin = @Sendable (Response) throws(LimnError) -> Void
  package typealias Receive = @Sendable (UnsafeRawBufferPointer) throws(LimnError) -> Void

  /// Everything about the response except its body.
  package struct Response: Sendable {
    package var status: Int
    /// In the server's order, names in lowercase.
    package var headers: [(name: String, value: String)]
    /// The URL that responded, after redirects; empty until the transfer is over.
    package var url = ""
    /// Where a redirect that was not followed leads, as an absolute URL; nil until the transfer is over.
    package var target: String?

    /// The value of the first header with this name, which is given in lowercase.
    package subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
  }

  /// http or https.
  package var url: String
  package var method = Method.get
  /// The path of a Unix socket to connect to instead of the URL's host.
  package var socket: String?
  package var headers: [(name: String, value: String)] = [("User-Agent", "limn")]
  /// Which bytes to ask for; `n..<Int.max` is everything from byte n on. Servers that support ranges respond with
  /// status 206, others with 200 and the whole body.
  package var range: Range<Int>?
  /// How many redirects are followed; with 0 a redirect is a response like any other. All `headers` are sent again,
  /// except that another host does not get Authorization and Cookie. Cookies that a server sets are sent back to it on the way.
  package var redirects = 20
  /// Whether the server may compress the body, which arrives unpacked. Makes no sense together with `range`.
  package var acceptsCompression = false
  package var addresses = AddressPolicy.any
  package var limits = Limits()

  package init(_ url: String) { self.url = url }

  /// Runs the transfer.
  /// - Parameters:
  ///   - begin: called once, before the body, with the final response (redirects that are followed don't count).
  ///   - receive: called with each piece of the body, on the transfer's thread. It may block, which slows the server
  ///     down. An error from either closure ends the transfer and is thrown.
  /// - Throws: `.unavailable` when the server can't be reached, is too slow or hangs up; `.badData` when it sends more
  ///   than `limits` allow; `.usage` for anything but an http(s) URL, and for an address that `addresses` forbids;
  ///   `.interrupted` within 0.2 s of the task's cancellation. A status such as 404 is not an error.
  @discardableResult
  package func run(
    begin: @escaping Begin = { _ in }, receive: @escaping Receive = { _ in }
  ) async throws(LimnError) -> Response {
    try check()
    let exchange = Exchange(self, begin: begin, receive: receive)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { exchange.start($0) }
    } onCancel: {
      exchange.stop()
    }
    return try result.get()
  }

  private func check() throws(LimnError) {
    guard let address = URLComponents(string: url), ["http", "https"].contains(address.scheme?.lowercased()),
      address.host?.isEmpty == false, (1...65535).contains(address.port ?? 80)
    else { throw .badAddress(url) }
    let texts = headers.flatMap { [$0.name, $0.value] }
    guard !texts.contains(where: { $0.unicodeScalars.contains { $0.value < 32 && $0 != "\t" } }) else {
      throw LimnError(.usage, "a request header contains control characters", in: url)
    }
  }

  /// The URL with spaces and letters outside ASCII escaped, as browsers do; the host is left to libcurl.
  var escapedURL: String {
    let path =
      url.utf8.indices.filter { "/?#".utf8.contains(url.utf8[$0]) }.dropFirst(2).first ?? url.endIndex
    let escaped = url[path...].utf8.map { byte in
      (0x21...0x7E).contains(byte)
        ? String(UnicodeScalar(byte)) : "%" + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }
    return url[..<path] + escaped.joined()
  }
}
