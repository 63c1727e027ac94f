import LimnHub
import LimnCore
import Testing

/// Limits for servers on which the test expects limn to give up, and patient ones for busy machines.
private func limits(_ patience: Duration, silence: Duration) -> Download.Limits {
  var limits = Download.Limits()
  (limits.bytes, limits.connect, limits.silence, limits.patience) = (10_000, .seconds(60), silence, patience)
  return limits
}

private let quick = limits(.milliseconds(600), silence: .milliseconds(300))
private let patient = limits(.seconds(600), silence: .seconds(600))

private func fetch(_ server: TinyServer, _ limits: Download.Limits = patient) async throws(LimnError)
  -> [UInt8]
{
  try await Download.fetch("http://127.0.0.1:\(server.port)/a.png", limits: limits)
}

@Suite(.serialized) struct DownloadTests {
  @Test("all bytes at a URL arrive")
  func whole() async throws {
    let body = (0..<5000).map { UInt8($0 % 251) }
    let server = try TinyServer(
      Array("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".utf8) + body, piece: 1000)
    #expect(try await fetch(server) == body)
  }

  @Test("404 is reported as a missing file, any other refusal as unavailable")
  func refusals() async throws {
    for (status, kind) in [("404 Not Found", LimnError.Kind.notFound), ("500 Oh", .unavailable)] {
      let server = try TinyServer(Array("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n".utf8))
      let error = await #expect(throws: LimnError.self) { try await fetch(server) }
      #expect(error?.kind == kind)
    }
  }

  @Test("what a server answers instead is said in words")
  func statusWords() async throws {
    for (status, words) in [(403, "403 (forbidden)"), (429, "429 (too many requests)"), (599, "599")] {
      let server = try TinyServer(Array("HTTP/1.1 \(status) X\r\nContent-Length: 0\r\n\r\n".utf8))
      let error = await #expect(throws: LimnError.self) { try await fetch(server) }
      #expect(error?.what.description == "the server answered \(words)")
    }
  }

  @Test("the patience of a caller is the only one")
  func patience() async throws {
    let server = try TinyServer([], pause: .seconds(5), keepsOpen: true)
    let error = await #expect(throws: LimnError.self) {
      try await Download.fetch(server.url(), limits: .init(patience: .milliseconds(400)))
    }
    #expect(error?.description(for: .command).contains("did not answer within 0.4 s") == true)
    #expect(error?.description(for: .command).contains("--timeout") == true)
  }

  @Test("a server that sends nothing, or stops in the middle, is abandoned")
  func silence() async throws {
    for beginning in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc"] {
      let server = try TinyServer(Array(beginning.utf8), pause: .seconds(5), keepsOpen: true)
      let error = await #expect(throws: LimnError.self) { try await fetch(server, quick) }
      #expect(error?.kind == .unavailable)
    }
  }

  @Test("a server that drips is abandoned although it never falls silent")
  func dripping() async throws {
    let head = Array("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".utf8)
    let server = try TinyServer(
      head + [UInt8](repeating: 1, count: 5000), piece: 20, pause: .milliseconds(50))
    let error = await #expect(throws: LimnError.self) {
      try await fetch(server, limits(.seconds(3), silence: .seconds(60)))
    }
    #expect(error?.what == "the server sends too slowly")
  }

  @Test("more bytes than allowed are refused, whether announced or not")
  func tooLarge() async throws {
    let announced = try TinyServer(Array("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".utf8))
    let head = Array("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".utf8)
    let silent = try TinyServer(head + [UInt8](repeating: 1, count: 20_000))
    for server in [announced, silent] {
      let error = await #expect(throws: LimnError.self) { try await fetch(server) }
      #expect(error?.kind == .badData)
    }
  }

  @Test("a port where nobody listens is unavailable, and a malformed address is wrong usage")
  func nobody() async throws {
    for (url, kind) in [
      ("http://127.0.0.1:1/a.png", LimnError.Kind.unavailable),
      ("https://nowhere.invalid/a.png", .unavailable),
      ("http://", .usage), ("http://127.0.0.1:99999/", .usage), ("http://[::1", .usage),
      ("http:///a.png", .usage),
    ] {
      let error = await #expect(throws: LimnError.self) { try await Download.fetch(url, limits: quick) }
      #expect(error?.kind == kind, "\(url)")
    }
  }
}
