import Foundation
package import Limn
import LimnCore
import LimnHub
import Synchronization

/// Pictures as requests carry them. None is ever read from a file of this machine.
package struct Pictures: Sendable {
  let addresses: AddressPolicy
  /// How many one request may have, its conversation so far included.
  static let limit = 64

  /// - Throws: a refusal if there are too many.
  static func check(_ request: Limn.Request) throws(Refusal) {
    guard request.images.count <= limit else {
      throw Refusal(
        .invalidRequest, "at most \(limit) pictures can be in one request, and it has \(request.images.count)",
        code: "too_many_pictures")
    }
  }

  package init(_ options: ServerOptions) {
    // Not `.any`: a stranger's URL must not bring this machine's proxy settings and passwords into play.
    addresses = options.allowsPrivateURLs ? AddressPolicy(usesSettings: false) { _ in true } : .publicOnly
  }

  /// A picture as a `data:` URL, plain base64, or an http(s) URL, which is fetched.
  package func source(url text: String, field: String) async throws(Refusal) -> ImageSource {
    let scheme = text.prefix(8).lowercased()
    guard scheme.hasPrefix("http://") || scheme.hasPrefix("https://") else {
      return try Self.source(inline: text, field: field)
    }
    guard Self.isPlain(text) else { throw Self.notFetched(field) }
    do {
      return .data(try await fetch(text), name: "the picture")
    } catch let refusal as Refusal {
      throw refusal
    } catch {
      // One text for every reason: an answer that says more would let strangers look around behind this server.
      throw Self.notFetched(field)
    }
  }

  /// A picture as a `data:` URL or base64.
  static func source(inline text: String, field: String) throws(Refusal) -> ImageSource {
    let isURL = text.prefix(5).lowercased() == "data:"
    // Anything shorter is no picture; paths end here.
    guard isURL || text.utf8.count >= 60 else { throw notPicture(field) }
    do {
      guard case .data(let bytes, _) = try ImageSource(dataURL: isURL ? text : "data:;base64," + text) else {
        throw notPicture(field)
      }
      return .data(bytes, name: "the picture")
    } catch {
      throw notPicture(field)
    }
  }

  private static func notPicture(_ field: String) -> Refusal {
    .invalid(
      field, "\(field) must be a picture: a data: URL or base64, or where the API takes them an http(s) URL",
      code: "image_unreadable")
  }

  private static func notFetched(_ field: String) -> Refusal {
    .invalid(field, "the picture of \(field) could not be fetched", code: "image_not_fetched")
  }

  // MARK: Fetching

  private static let maxBytes = 20 << 20

  /// Fetches a picture. Each redirect goes through the same door as the first URL.
  private func fetch(_ url: String) async throws -> [UInt8] {
    var url = url
    for _ in 0...Self.maxRedirects {
      guard Self.isPlain(url), let host = URLComponents(string: url)?.host else { break }
      // Of a name with several addresses all must be allowed. The one that is connected to is checked again.
      let addresses = await HostLookup.addresses(of: host)
      guard !addresses.isEmpty, addresses.allSatisfy(self.addresses.allows) else { break }
      switch try await Self.get(url, self.addresses) {
      case .bytes(let bytes): return bytes
      case .redirect(let target): url = target
      }
    }
    throw LimnError(.unavailable, "it could not be fetched", in: url)
  }

  private enum Fetched {
    case bytes([UInt8])
    case redirect(String)
  }

  private static let maxRedirects = 5

  private static func get(_ url: String, _ addresses: AddressPolicy) async throws -> Fetched {
    var transfer = Transfer(url)
    transfer.headers.append(("Accept", "image/*"))
    transfer.redirects = 0
    transfer.addresses = addresses
    transfer.limits = Transfer.Limits(patience: .seconds(10))
    transfer.limits.connect = .seconds(5)
    transfer.limits.bytes = Self.maxBytes
    let bytes = Mutex<[UInt8]>([])
    let response = try await transfer.run(receive: { piece in
      bytes.withLock { $0.append(contentsOf: piece) }
    })
    if (300..<400).contains(response.status), let target = response.target { return .redirect(target) }
    guard response.status == 200 else { throw LimnError(.unavailable, "status \(response.status)", in: url) }
    let fetched = bytes.withLock { $0 }
    try BodyBudget.Claim.current?.add(fetched.count)
    return .bytes(fetched)
  }

  /// Whether every parser reads this URL in the same way: no user, no backslash, no control characters, and a host of
  /// plain letters.
  private static func isPlain(_ url: String) -> Bool {
    let authority = url.drop { $0 != "/" }.dropFirst(2).prefix { !"/?#".contains($0) }
    return url.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }
      && !authority.isEmpty
      && authority.utf8.allSatisfy { byte in
        byte < 0x80
          && (Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber
            || "-._:[]".utf8.contains(byte))
      }
  }
}
