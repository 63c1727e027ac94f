import AsyncHTTPClient
import Foundation
package import LimnCore
import NIOCore
import NIOHTTP1
import NIOPosix

/// Fetches what the user named by URL: into memory, bounded in size and time.
package enum Download {
  /// What a fetch may cost before it is given up.
  package struct Limits: Sendable {
    package var bytes = 100 << 20
    package var connect = Duration.seconds(3)
    /// Longest silence of the server.
    package var silence = Duration.seconds(3)
    /// After this time the average must be at least `bytesPerSecond`.
    package var patience = Duration.seconds(4)
    package var bytesPerSecond = 16 << 10

    package init() {}
  }

  /// The bytes behind an http or https URL; redirects are followed.
  /// - Throws: `.unavailable` when the server can't be reached, is too slow, or refuses; `.notFound` for its 404.
  package static func fetch(_ url: String, limits: Limits = Limits()) async throws(LimnError) -> [UInt8] {
    guard let address = URLComponents(string: url), ["http", "https"].contains(address.scheme?.lowercased()),
      address.host?.isEmpty == false, (1...65535).contains(address.port ?? 80)
    else {
      throw LimnError(
        .usage, "not an address to fetch from", in: url, expected: "http://host/path or https://…")
    }
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .follow(max: 5, allowCycles: false),
      timeout: .init(connect: .init(limits.connect), read: .init(limits.silence)))
    configuration.httpVersion = .automatic
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    let result: Result<[UInt8], LimnError>
    do {
      result = .success(try await read(url, client, limits))
    } catch {
      result = .failure(refusal(error, url))
    }
    try? await client.shutdown()
    return try result.get()
  }

  private static func read(_ url: String, _ client: HTTPClient, _ limits: Limits) async throws -> [UInt8] {
    var request = HTTPClientRequest(url: url)
    request.headers.add(name: "User-Agent", value: "limn")
    request.headers.add(name: "Accept", value: "image/jpeg, image/png, image/webp, */*;q=0.5")
    let start = ContinuousClock.now
    // The client's own time-outs watch the connection and silence; the deadline bounds the wait for headers.
    let response = try await client.execute(request, deadline: .now() + .init(limits.patience))
    guard response.status == .ok else {
      let missing = response.status == .notFound || response.status == .gone
      throw LimnError(
        missing ? .notFound : .unavailable, "the server answered \(response.status.code)", in: url,
        remedy: "open the address in a browser to see whether it is right")
    }
    var bytes: [UInt8] = []
    if let length = response.headers.first(name: "Content-Length").flatMap({ Int($0) }) {
      try check(length, limits, url)
      bytes.reserveCapacity(length)
    }
    for try await chunk in response.body {
      bytes.append(contentsOf: chunk.readableBytesView)
      try check(bytes.count, limits, url)
      let elapsed = ContinuousClock.now - start
      let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
      if elapsed > limits.patience, Double(bytes.count) < seconds * Double(limits.bytesPerSecond) {
        throw LimnError(
          .unavailable, "the server sends too slowly", in: url,
          found: "\(bytes.count) bytes in \(Int(seconds)) s", remedy: "download the picture first")
      }
    }
    return bytes
  }

  private static func check(_ count: Int, _ limits: Limits, _ url: String) throws(LimnError) {
    guard count <= limits.bytes else {
      throw .badData(
        "the download is too large", in: url, expected: "at most \(limits.bytes >> 20) MB",
        found: "\(count >> 20) MB or more")
    }
  }

  private static func refusal(_ error: any Error, _ url: String) -> LimnError {
    switch error {
    case let error as LimnError: error
    case is CancellationError: LimnError(.interrupted, "stopped")
    default:
      LimnError(
        .unavailable, "the address could not be fetched (\(reason(error)))", in: url,
        remedy: "check the address and the network")
    }
  }

  /// What stopped it, in few words.
  private static func reason(_ error: any Error) -> String {
    switch error {
    case let error as HTTPClientError: error.shortDescription
    case is NIOConnectionError: "nobody answers there"
    case let error as IOError: String(cString: strerror(error.errnoCode))
    default: "\(error)"
    }
  }
}
