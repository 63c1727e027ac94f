import CLimnSystem
import Foundation
public import LimnCore
public import LimnImage

/// An image as a command line names it: a path, `-` for standard input, or an `http(s):`, `data:` or `file:` URL.
public enum ImageReference: Sendable, Equatable {
  case standardInput
  /// An http or https URL.
  case url(String)
  case source(ImageSource)

  /// Recognises the kind; reads and fetches nothing.
  /// - Throws: `badData` for a malformed `data:` URL.
  public init(_ text: String) throws(LimnError) {
    let scheme = text.prefix(8).lowercased()
    if text == "-" {
      self = .standardInput
    } else if scheme.hasPrefix("http://") || scheme.hasPrefix("https://") {
      self = .url(text)
    } else if scheme.hasPrefix("data:") {
      self = .source(try ImageSource(dataURL: text))
    } else if scheme == "file:///", let path = String(text.dropFirst(7)).removingPercentEncoding {
      self = .source(.path(path))
    } else {
      self = .source(.path(text))
    }
  }

  /// The image's source, with standard input read and a URL fetched.
  /// - Parameter timeout: how long to wait for a server that does not answer or falls silent.
  /// - Throws: what reading or fetching it throws.
  public func source(timeout: Duration = .seconds(30)) async throws(LimnError) -> ImageSource {
    switch self {
    case .source(let source): source
    case .url(let address): .data(try await Self.fetch(address, timeout), name: address)
    case .standardInput:
      .data(try ImageSource.readAll(STDIN_FILENO, size: 0, name: "standard input"), name: "standard input")
    }
  }

  private static func fetch(_ address: String, _ timeout: Duration) async throws(LimnError) -> [UInt8] {
    do {
      return try await Download.fetch(address, limits: Download.Limits(patience: timeout))
    } catch {
      throw error.ofImage
    }
  }
}
