import CLimnSystem
import Dispatch
import Foundation

/// What a host's name stands for.
package enum HostLookup {
  /// All addresses of a host, 4 or 16 bytes each; empty if it has none, or if the answer takes too long.
  package static func addresses(of host: String, timeout: Duration = .seconds(5)) async -> [[UInt8]] {
    let (answers, continuation) = AsyncStream.makeStream(of: [[UInt8]].self)
    // The system's resolver blocks; a thread of its own waits for it.
    DispatchQueue.global().async { continuation.yield(resolve(host)) }
    let timer = Task {
      try await Task.sleep(for: timeout)
      continuation.yield([])
    }
    defer { timer.cancel() }
    for await answer in answers { return answer }
    return []
  }

  private static func resolve(_ host: String) -> [[UInt8]] {
    let name = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    var first: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(name, nil, nil, &first) == 0 else { return [] }
    defer { freeaddrinfo(first) }
    return sequence(first: first) { $0?.pointee.ai_next }.prefix { $0 != nil }.compactMap { entry in
      guard let info = entry?.pointee, let address = info.ai_addr else { return nil }
      switch info.ai_family {
      case AF_INET:
        return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { socket in
          withUnsafeBytes(of: socket.pointee.sin_addr) { Array($0) }
        }
      case AF_INET6:
        return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { socket in
          withUnsafeBytes(of: socket.pointee.sin6_addr) { Array($0) }
        }
      default: return nil
      }
    }
  }
}
