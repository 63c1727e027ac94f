import Foundation
import Synchronization

/// A server on the loopback address that answers every connection with the test's bytes, at a fixed pace.
final class TinyServer: Sendable {
  let port: UInt16
  private let state: State

  /// All requests so far: heads, with the bodies that they announce.
  var requests: [String] { state.requests.withLock { $0 } }

  func url(_ path: String = "/a.png") -> String { "http://127.0.0.1:\(port)\(path)" }

  /// - Parameters:
  ///   - response: everything to send, including the status line.
  ///   - piece: how many bytes to send at a time; nil: all at once.
  ///   - pause: the wait between two pieces, and before closing if `keepsOpen`.
  convenience init(
    _ response: [UInt8], piece: Int? = nil, pause: Duration = .zero, keepsOpen: Bool = false
  ) throws {
    try self.init(piece: piece, pause: pause, keepsOpen: keepsOpen) { _ in response }
  }

  /// - Parameter answer: returns everything to send for a request with the given head.
  init(
    piece: Int? = nil, pause: Duration = .zero, keepsOpen: Bool = false,
    answer: @escaping @Sendable (String) -> [UInt8]
  ) throws {
    let listener = socket(AF_INET, streamType, 0)
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
    let state = State()
    self.state = state
    Thread.detachNewThread {
      // Only this thread closes the listener: elsewhere, its next `accept` could hit a new server's descriptor of the
      // same number.
      defer { close(listener) }
      while !state.isOver.load(ordering: .relaxed) {
        var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 20) > 0 else { continue }
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        Thread.detachNewThread {
          let request = Self.readRequest(connection)
          state.requests.withLock { $0.append(request) }
          Self.send(answer(request), to: connection, piece, pause)
          if keepsOpen { Thread.sleep(forTimeInterval: pause.seconds) }
          close(connection)
        }
      }
    }
  }

  deinit { state.isOver.store(true, ordering: .relaxed) }

  /// The head, and as much of a body as it announces.
  private static func readRequest(_ connection: Int32) -> String {
    var request = ""
    var part = [UInt8](repeating: 0, count: 4096)
    while !isWhole(request) {
      let count = recv(connection, &part, part.count, 0)
      // A TLS handshake, which this server does not speak.
      guard count > 0, part.first != 0x16 else { break }
      request += String(decoding: part[..<count], as: UTF8.self)
    }
    return request
  }

  private static func isWhole(_ request: String) -> Bool {
    guard let end = request.range(of: "\r\n\r\n") else { return false }
    let length = request.firstMatch(of: #/Content-Length: (\d+)/#).flatMap { Int($0.output.1) } ?? 0
    return request[end.upperBound...].utf8.count >= length
  }

  private static func send(_ response: [UInt8], to connection: Int32, _ piece: Int?, _ pause: Duration) {
    #if canImport(Darwin)
      var yes: Int32 = 1
      setsockopt(connection, SOL_SOCKET, SO_NOSIGPIPE, &yes, socklen_t(MemoryLayout<Int32>.size))
      let flags: Int32 = 0
    #else
      let flags = Int32(MSG_NOSIGNAL)
    #endif
    var rest = response[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(piece ?? rest.count))
      let count = Foundation.send(connection, part, part.count, flags)
      guard count > 0 else { break }
      rest = rest.dropFirst(count)
      if piece != nil { Thread.sleep(forTimeInterval: pause.seconds) }
    }
  }

  private final class State: Sendable {
    let requests = Mutex<[String]>([])
    let isOver = Atomic<Bool>(false)
  }
}

#if canImport(Darwin)
  private let streamType = SOCK_STREAM
#else
  private let streamType = Int32(SOCK_STREAM.rawValue)
#endif

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
