import CLimnTransfer
import Foundation
import LimnCore
import Synchronization

/// A transfer in progress: libcurl's callbacks, and the limits on time and size.
///
/// Unchecked because only the transfer's thread touches its variables, which `start` sets before that thread exists;
/// the stop flag is atomic.
final class Exchange: @unchecked Sendable {
  typealias Outcome = Result<Transfer.Response, LimnError>

  private let transfer: Transfer
  private let begin: Transfer.Begin
  private let receive: Transfer.Receive
  private let isStopped = Atomic<Bool>(false)
  private var continuation: CheckedContinuation<Outcome, Never>?

  private let started = SuspendingClock.now
  private var lastSign = SuspendingClock.now
  private var heads = HeadReader()
  private var response: Transfer.Response?
  private var byteCount = 0
  private var failure: LimnError?

  init(_ transfer: Transfer, begin: @escaping Transfer.Begin, receive: @escaping Transfer.Receive) {
    self.transfer = transfer
    self.begin = begin
    self.receive = receive
    heads.followsRedirects = transfer.redirects > 0
  }

  /// Ends the transfer at its next tick. May be called from any thread.
  func stop() { isStopped.store(true, ordering: .relaxed) }

  /// Runs the transfer on a thread of its own, because libcurl blocks, and the threads that Swift's tasks share must
  /// not be blocked.
  func start(_ continuation: CheckedContinuation<Outcome, Never>) {
    self.continuation = continuation
    let context = Unmanaged.passRetained(self)
    let error = limn_start_transfer_thread(
      {
        Unmanaged<Exchange>.fromOpaque($0!).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    guard error != 0 else { return }
    context.release()
    continuation.resume(
      returning: .failure(LimnError(.unavailable, "no thread can be started", in: transfer.url)))
  }

  private func run() {
    var events = limn_transfer_events(
      context: Unmanaged.passUnretained(self).toOpaque(),
      receive_header: { exchange, line, count in
        of(exchange).attempt { exchange throws(LimnError) in
          try exchange.receiveHeader(UnsafeRawBufferPointer(start: line, count: count))
        }
      },
      receive_body: { exchange, bytes, count in
        of(exchange).attempt { exchange throws(LimnError) in
          try exchange.receiveBody(UnsafeRawBufferPointer(start: bytes, count: count))
        }
      },
      may_connect: { exchange, address, count in
        of(exchange).transfer.addresses.allows(Array(UnsafeRawBufferPointer(start: address, count: count)))
          ? 0 : 1
      },
      tick: { exchange in of(exchange).attempt { exchange throws(LimnError) in try exchange.checkTime() } })
    let result = transfer.withRequest { limn_transfer_run($0, &events) }
    continuation?.resume(returning: outcome(result))
    // This may block on a name look-up that is no longer needed, so the task is resumed first.
    limn_transfer_free(result)
  }

  private func outcome(_ result: UnsafeMutablePointer<limn_transfer>?) -> Outcome {
    if let failure { return .failure(failure) }
    guard let result = result?.pointee else {
      return .failure(LimnError(.unavailable, "out of memory", in: transfer.url))
    }
    if let failure = LimnError(result, of: transfer, redirected: heads.redirects > 0) {
      return .failure(failure)
    }
    guard var response else {
      return .failure(.notFetched("the server does not speak HTTP", transfer))
    }
    response.url = result.url.map { String(cString: $0) } ?? transfer.url
    response.target = result.target.map { String(cString: $0) }
    return .success(response)
  }
}

private func of(_ context: UnsafeMutableRawPointer?) -> Exchange {
  Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
}

// MARK: - What libcurl reports

extension Exchange {
  /// Runs `step`; if it throws, keeps the error and returns nonzero, which ends the transfer.
  private func attempt(_ step: (Exchange) throws(LimnError) -> Void) -> Int32 {
    do {
      try step(self)
      return 0
    } catch {
      failure = failure ?? error
      return 1
    }
  }

  private func receiveHeader(_ line: UnsafeRawBufferPointer) throws(LimnError) {
    lastSign = .now
    guard response == nil else {
      // Trailers may follow the body. A second response must not be taken for part of the first.
      if line.starts(with: "HTTP/".utf8) { throw .notFetched("the server does not speak HTTP", transfer) }
      return
    }
    guard let head = try heads.receive(line, of: transfer) else { return }
    response = head
    try begin(head)
    if case .get = transfer.method, let length = head["content-length"].flatMap({ Int($0) }) { try check(length) }
  }

  private func receiveBody(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    // Many pieces may go to a slow receiver between two ticks.
    try checkStop()
    byteCount += bytes.count
    try check(byteCount)
    try receive(bytes)
    // The clock starts only now, because time that the receiver takes is not silence of the server.
    lastSign = .now
  }

  private func check(_ count: Int) throws(LimnError) {
    let limit = transfer.limits.bytes
    guard count <= limit else {
      throw .badData(
        "the download is too large", in: transfer.url, expected: "at most \(limit >> 20) MB",
        found: "\(count >> 20) MB or more")
    }
  }

  private func checkStop() throws(LimnError) {
    if isStopped.load(ordering: .relaxed) { throw LimnError(.interrupted, "stopped") }
  }

  private func checkTime() throws(LimnError) {
    try checkStop()
    let limits = transfer.limits
    let now = SuspendingClock.now
    let isWaiting = response == nil && heads.isEmpty
    if now - lastSign > (isWaiting ? limits.connect + limits.silence : limits.silence) {
      throw .notFetched("the server fell silent for \(limits.silence.short)", transfer, remedy: Self.patience)
    }
    let elapsed = now - started
    guard elapsed > limits.patience, Double(byteCount) < elapsed.seconds * Double(limits.bytesPerSecond)
    else { return }
    guard response != nil else {
      throw .notFetched("the server did not answer within \(limits.patience.short)", transfer, remedy: Self.patience)
    }
    throw LimnError(
      .unavailable, "the server sends too slowly", in: transfer.url,
      found: "\(byteCount) bytes in \(elapsed.short)", remedy: Self.patience)
  }

  private static let patience: LimnError.Text = "check the address, wait longer (\(.timeout)), or download it first"
}

extension Transfer {
  /// Calls `body` with the request as C structures.
  fileprivate func withRequest<Result>(_ body: (UnsafePointer<limn_transfer_request>) -> Result) -> Result {
    // To libcurl, "Name:" removes a header, and "Name;" is a header without a value.
    let lines = headers.map { strdup($0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)") }
    defer { for line in lines { free(line) } }
    let range = range.map { "\($0.lowerBound)-" + ($0.upperBound == .max ? "" : "\($0.upperBound - 1)") }
    let pointers = lines.map { UnsafePointer($0) } + [nil]
    let (isHead, posted): (Bool, [UInt8]?) =
      switch method {
      case .get: (false, nil)
      case .head: (true, nil)
      case .post(let bytes): (false, bytes)
      }
    return pointers.withUnsafeBufferPointer { headers in
      escapedURL.withCString { url in
        withOptionalCString(range) { range in
          withOptionalCString(socket) { socket in
            // An array without elements has no address; a body of no bytes needs one.
            ((posted ?? []) + [0]).withUnsafeBytes { bytes in
              var request = limn_transfer_request(
                url: url, headers: headers.baseAddress, range: range, socket: socket,
                body: posted == nil ? nil : bytes.baseAddress, body_bytes: posted?.count ?? 0, redirects: redirects,
                connect_milliseconds: Int(limits.connect.seconds * 1000), head_only: isHead ? 1 : 0,
                accepts_compression: acceptsCompression ? 1 : 0, uses_settings: addresses.usesSettings ? 1 : 0)
              return body(&request)
            }
          }
        }
      }
    }
  }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
  text.map { $0.withCString(body) } ?? body(nil)
}

extension Duration {
  fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }

  /// "30 s", "0.3 s"
  var short: String {
    let tenths = (seconds * 10).rounded() / 10
    return (tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)") + " s"
  }
}
