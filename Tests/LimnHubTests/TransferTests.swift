import Foundation
import LimnHub
import LimnCore
import Synchronization
import Testing

/// A response that announces its length.
private func ok(_ body: [UInt8], _ headers: String = "") -> [UInt8] {
  Array("HTTP/1.1 200 OK\r\n\(headers)Content-Length: \(body.count)\r\n\r\n".utf8) + body
}

private func redirect(to target: String) -> [UInt8] {
  Array("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: \(target)\r\nContent-Length: 4\r\n\r\nmove".utf8)
}

/// What a transfer returned or threw, and the pieces that arrived.
private struct Received {
  var response: Transfer.Response?
  var pieces: [[UInt8]] = []
  var error: LimnError?

  var body: [UInt8] { Array(pieces.joined()) }
}

/// Runs a transfer, with patience for busy machines unless `change` says otherwise.
private func run(_ url: String, _ change: (inout Transfer) -> Void = { _ in }) async -> Received {
  var transfer = Transfer(url)
  transfer.limits.connect = .seconds(60)
  transfer.limits.silence = .seconds(600)
  transfer.limits.bytesPerSecond = 0
  change(&transfer)
  let pieces = Mutex<[[UInt8]]>([])
  var received = Received()
  do {
    received.response = try await transfer.run(receive: { bytes in pieces.withLock { $0.append(Array(bytes)) }
    })
  } catch {
    received.error = error
  }
  received.pieces = pieces.withLock { $0 }
  return received
}

@Suite(.serialized) struct TransferTests {
  @Test("redirects are followed, to another path and to another server, and their own bodies are dropped")
  func redirects() async throws {
    let other = try TinyServer(ok([1, 2, 3]))
    let server = try TinyServer { request in
      request.hasPrefix("GET /start ") ? redirect(to: "/next") : redirect(to: other.url("/end"))
    }
    let received = await run(server.url("/start"))
    #expect(received.body == [1, 2, 3] && received.response?.status == 200)
    #expect(received.response?.url == other.url("/end"))
    #expect(server.requests.count == 2 && other.requests.first?.hasPrefix("GET /end ") == true)
  }

  @Test("with redirects off, a redirect is a response with its absolute target")
  func manualRedirect() async throws {
    let server = try TinyServer(redirect(to: "/next?a=b"))
    let received = await run(server.url()) { $0.redirects = 0 }
    #expect(received.response?.status == 302 && received.response?["location"] == "/next?a=b")
    #expect(received.response?.target == server.url("/next?a=b"))
    #expect(server.requests.count == 1)
  }

  @Test("cookies that a server sets on the way are sent back to it, and to no other")
  func cookies() async throws {
    let other = try TinyServer(ok([7]))
    let server = try TinyServer { request in
      guard request.contains("Cookie: seen=1") else {
        return Array("HTTP/1.1 302 Found\r\nSet-Cookie: seen=1\r\nLocation: /a.png\r\nContent-Length: 0\r\n\r\n".utf8)
      }
      return redirect(to: "http://localhost:\(other.port)/")
    }
    #expect(await run(server.url()).body == [7])
    #expect(server.requests.count == 2 && other.requests.first?.contains("seen") == false)
  }

  @Test("endless redirects are refused")
  func redirectLoop() async throws {
    let server = try TinyServer(redirect(to: "/again"))
    let received = await run(server.url())
    #expect(received.error?.kind == .unavailable)
    #expect(received.error?.what.description.contains("more than 20 redirects") == true)
    #expect(server.requests.count == 21)
  }

  @Test(
    "a redirect to a file, or to another protocol, is refused",
    arguments: ["file:///etc/passwd", "ftp://127.0.0.1/a"])
  func redirectToFile(_ target: String) async throws {
    let server = try TinyServer(redirect(to: target))
    let received = await run(server.url())
    #expect(received.error?.what.description.contains("neither http nor https") == true)
    #expect(received.error?.found == "a redirect to \(target)")
    #expect(received.pieces.isEmpty)
  }

  @Test(
    "a private address is refused if only public ones are allowed, however it is spelled",
    arguments: ["127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
  func privateAddress(_ host: String) async throws {
    let server = try TinyServer(ok([1]))
    let received = await run("http://\(host):\(server.port)/") { $0.addresses = .publicOnly }
    #expect(received.error?.what == "the address is not on the public internet")
    #expect(received.error?.kind == .usage)
    #expect(server.requests.isEmpty)
  }

  @Test("a redirect to a private address is refused", arguments: ["127.0.0.2", "[::1]"])
  func privateRedirect(_ host: String) async throws {
    // A server on the loopback address stands in for a public one.
    let server = try TinyServer { _ in redirect(to: "http://\(host):1/") }
    let received = await run(server.url()) {
      $0.addresses = AddressPolicy(usesSettings: false) {
        $0 == [127, 0, 0, 1] || AddressPolicy.publicOnly.allows($0)
      }
    }
    #expect(server.requests.count == 1)
    #expect(received.error?.what == "the address is not on the public internet")
    #expect(received.error?.found?.hasPrefix("a redirect to http://\(host)") == true)
  }

  @Test("each header is sent once, and those of the response arrive")
  func headers() async throws {
    let server = try TinyServer(ok([], "X-Linked-Etag: \"abc\"\r\nEmpty:\r\n"))
    let received = await run(server.url()) {
      $0.headers += [("Authorization", "Bearer secret"), ("X-Empty", "")]
    }
    let request = try #require(server.requests.first).split(separator: "\r\n")
    for line in ["User-Agent: limn", "Authorization: Bearer secret", "X-Empty:"] {
      #expect(request.filter { $0 == line }.count == 1, "\(line)")
    }
    #expect(received.response?["x-linked-etag"] == "\"abc\"" && received.response?["empty"] == "")
  }

  @Test("a header cannot smuggle in another one")
  func headerInjection() async throws {
    let server = try TinyServer(ok([]))
    let received = await run(server.url()) { $0.headers.append(("A", "b\r\nC: d")) }
    #expect(received.error?.kind == .usage && server.requests.isEmpty)
  }

  @Test("authorization for one server is not sent to another one after a redirect")
  func redirectedAuthorization() async throws {
    let other = try TinyServer(ok([]))
    let server = try TinyServer(redirect(to: "http://localhost:\(other.port)/"))
    _ = await run(server.url()) { $0.headers.append(("Authorization", "Bearer secret")) }
    #expect(server.requests.first?.contains("Bearer secret") == true)
    #expect(other.requests.count == 1 && other.requests.first?.contains("secret") == false)
  }

  @Test("a requested range arrives")
  func range() async throws {
    let content = (0..<100).map { UInt8($0) }
    let server = try TinyServer { request in
      let line = request.split(separator: "\r\n").first { $0.hasPrefix("Range: bytes=") } ?? "=-"
      let bounds = line.drop { $0 != "=" }.dropFirst().split(separator: "-").compactMap { Int($0) }
      guard let first = bounds.first else { return ok([]) }
      let part = content[first...(bounds.count > 1 ? bounds[1] : 99)]
      let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes \(first)-\(part.endIndex - 1)/100\r\n"
      return Array("\(head)Content-Length: \(part.count)\r\n\r\n".utf8) + part
    }
    for (range, expected) in [(10..<20, 10..<20), (90..<Int.max, 90..<100)] {
      let received = await run(server.url()) { $0.range = range }
      #expect(received.body == Array(content[expected]) && received.response?.status == 206)
    }
  }

  @Test("HEAD receives no body, however large it would be")
  func head() async throws {
    let server = try TinyServer(Array("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".utf8))
    let received = await run(server.url()) { $0.method = .head }
    #expect(received.response?["content-length"] == "99999999999" && received.pieces.isEmpty)
    #expect(server.requests.first?.hasPrefix("HEAD ") == true)
  }

  @Test("bytes arrive while the transfer runs")
  func pieces() async throws {
    let server = try TinyServer(ok([UInt8](0..<100)), piece: 50, pause: .milliseconds(100))
    let received = await run(server.url())
    #expect(received.pieces.count > 1 && received.body == [UInt8](0..<100))
  }

  @Test("an error in the receiver ends the transfer and is thrown")
  func receiverThrows() async throws {
    let server = try TinyServer(ok([1]))
    for atHead in [true, false] {
      let full = LimnError(.unavailable, "the disk is full")
      let error = await #expect(throws: LimnError.self) {
        try await Transfer(server.url()).run { _ throws(LimnError) in
          if atHead { throw full }
        } receive: { _ throws(LimnError) in
          throw full
        }
      }
      #expect(error == full)
    }
  }

  @Test("a cancelled task stops its transfer at once")
  func cancellation() async throws {
    let server = try TinyServer(
      Array("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".utf8), pause: .seconds(20), keepsOpen: true)
    let task = Task { await run(server.url()) }
    while server.requests.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
    let start = ContinuousClock.now
    task.cancel()
    let error = await task.value.error
    #expect(ContinuousClock.now - start < .milliseconds(500))
    #expect(error == LimnError(.interrupted, "stopped"))
  }

  @Test("a compressed response arrives unpacked")
  func compression() async throws {
    // Python: gzip.compress(b"limn " * 20, mtime=0)
    let packed: [UInt8] = [
      0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xCB, 0xC9, 0xCC, 0xCD, 0x53, 0xC8, 0xA1, 0x2D, 0x01, 0x00,
      0xEF, 0x62, 0x09, 0xD9, 0x64, 0, 0, 0,
    ]
    let server = try TinyServer(ok(packed, "Content-Encoding: gzip\r\n"))
    let received = await run(server.url()) { $0.acceptsCompression = true }
    #expect(String(decoding: received.body, as: UTF8.self) == String(repeating: "limn ", count: 20))
    #expect(await run(server.url()).body == packed)
  }

  @Test("a small response that unpacks to a huge one is cut at the limit")
  func bomb() async throws {
    // The beginning of a gzip file of zeros; every 1000 further bytes are a million zeros.
    var packed: [UInt8] = [
      0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xED, 0xC1, 0x01, 0x01, 0, 0, 0, 0x82,
    ]
    packed += [0x20, 0xFF, 0xAF, 0x6E, 0x48, 0x40, 0x01] + [UInt8](repeating: 0, count: 9000)
    let server = try TinyServer(ok(packed, "Content-Encoding: gzip\r\n"))
    let received = await run(server.url()) {
      $0.acceptsCompression = true
      $0.limits.bytes = 100_000
    }
    #expect(received.error?.what == "the download is too large")
    #expect(received.body.count <= 100_000 && received.body.count > 50_000)
  }

  @Test("a URL may contain spaces and any letters, and escapes stay as they are")
  func escapes() async throws {
    let server = try TinyServer(ok([]))
    _ = await run(server.url("/a b%2F\u{FC}.png?q=1+2&r=%20\u{1F388}#part"))
    #expect(
      server.requests.first?.hasPrefix("GET /a%20b%2F%c3%bc.png?q=1+2&r=%20%f0%9f%8e%88 HTTP/1.1\r\n") == true
    )
  }

  @Test("endless headers are refused")
  func endlessHeaders() async throws {
    let line = "X-A: " + String(repeating: "a", count: 1000) + "\r\n"
    let server = try TinyServer(ok([], String(repeating: line, count: 290)))
    #expect(await run(server.url()).error?.kind == .badData)
  }

  @Test("errors say in plain words why nothing arrived")
  func words() async throws {
    let cut = try TinyServer(Array("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".utf8))
    let noise = try TinyServer(
      Array("220 smtp here\r\n\r\n".utf8), pause: .milliseconds(100), keepsOpen: true)
    for (url, words) in [
      ("http://127.0.0.1:1/", "connection refused: nobody answers there"),
      ("http://nowhere.invalid/", "DNS knows no host of this name"),
      (cut.url(), "the server hung up before the end"), (noise.url(), "the server does not speak HTTP"),
      ("https://127.0.0.1:\(noise.port)/", "no encrypted connection (TLS) can be made"),
    ] {
      let error = await run(url).error
      #expect(error?.kind == .unavailable)
      #expect(
        error?.what.description.hasPrefix("the address could not be fetched (\(words)") == true,
        "\(url): \(error?.what ?? "-")")
    }
  }
}
