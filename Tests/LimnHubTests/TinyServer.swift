import Foundation

/// A server on the loopback address that answers every connection with fixed bytes, at a fixed pace.
final class TinyServer: Sendable {
  let port: UInt16
  private let listener: Int32

  /// - Parameters:
  ///   - response: everything that is sent, status line included.
  ///   - piece: bytes at a time; nil: all at once.
  ///   - pause: between two pieces, and before closing where `keepsOpen`.
  init(_ response: [UInt8], piece: Int? = nil, pause: Duration = .zero, keepsOpen: Bool = false) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, length) == 0 && listen(listener, 8) == 0
          && getsockname(listener, address, &length) == 0
      }
    }
    guard bound else { throw POSIXError(.EADDRNOTAVAIL) }
    port = UInt16(bigEndian: address.sin_port)
    self.listener = listener
    Thread.detachNewThread {
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        Thread.detachNewThread { Self.serve(connection, response, piece, pause, keepsOpen) }
      }
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  private static func serve(
    _ connection: Int32, _ response: [UInt8], _ piece: Int?, _ pause: Duration, _ keepsOpen: Bool
  ) {
    var request = [UInt8](repeating: 0, count: 4096)
    _ = recv(connection, &request, request.count, 0)
    var rest = response[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(piece ?? rest.count))
      guard send(connection, part, part.count, Int32(MSG_NOSIGNAL)) > 0 else { break }
      rest = rest.dropFirst(part.count)
      if piece != nil { Thread.sleep(forTimeInterval: pause.seconds) }
    }
    if keepsOpen { Thread.sleep(forTimeInterval: pause.seconds) }
    close(connection)
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
