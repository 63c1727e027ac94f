package import LimnCore
import Synchronization

/// Fetches what the user named by URL: into memory, bounded in size and time.
package enum Download {
  package typealias Limits = Transfer.Limits

  /// The bytes behind an http or https URL; redirects are followed.
  /// - Throws: `.unavailable` when the server can't be reached, is too slow, or refuses; `.notFound` for its 404.
  package static func fetch(
    _ url: String, limits: Limits = Limits(), addresses: AddressPolicy = .any
  ) async throws(LimnError) -> [UInt8] {
    var transfer = Transfer(url)
    transfer.headers.append(("Accept", "image/jpeg, image/png, image/webp, image/*;q=0.8, */*;q=0.5"))
    transfer.acceptsCompression = true
    transfer.limits = limits
    transfer.addresses = addresses
    let bytes = Mutex<[UInt8]>([])
    try await transfer.run { response throws(LimnError) in
      guard response.status == 200 else {
        let missing = response.status == 404 || response.status == 410
        throw LimnError(
          missing ? .notFound : .unavailable, "the server answered \(HTTPStatus.name(response.status))", in: url,
          remedy: HTTPStatus.remedy(response.status))
      }
    } receive: { piece in
      bytes.withLock { $0.append(contentsOf: piece) }
    }
    return bytes.withLock { $0 }
  }
}
