import Foundation
import LimnCore
import Testing

import LimnHub

@Suite struct RunningServerTests {
  private static func answering(_ status: String, _ body: String) throws -> TinyServer {
    try TinyServer(
      Array(
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8
      ))
  }

  private func server(_ tiny: TinyServer, key: String? = nil) -> RunningServer {
    RunningServer(address: "http://127.0.0.1:\(tiny.port)", key: key)
  }

  private func failure(_ body: () async throws -> Void) async -> LimnError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? LimnError
    }
  }

  @Test("open models are listed by the names that the server was started with")
  func openModels() async throws {
    let tiny = try Self.answering(
      "200 OK",
      #"{"models": [{"name": "llava:latest", "size": 7000000000, "context_length": 4096, "expires_at": "2026-11-30T12:00:00.000Z"}]}"#
    )
    let models = try await server(tiny, key: "secret").openModels()
    #expect(
      models.map(\.name) == ["llava"] && models.map(\.bytes) == [7_000_000_000] && models.map(\.context) == [4096])
    let request = try #require(tiny.requests.first)
    #expect(request.hasPrefix("GET /api/ps ") && request.contains("Authorization: Bearer secret"))
  }

  @Test("closing posts the model's name")
  func close() async throws {
    let tiny = try Self.answering("200 OK", #"{"instance_id": "llava \"7b\""}"#)
    try await server(tiny).close("llava \"7b\"")
    let request = try #require(tiny.requests.first)
    #expect(request.hasPrefix("POST /api/v1/models/unload "))
    #expect(request.hasSuffix(#"{"instance_id": "llava \"7b\""}"#))
  }

  @Test("an unknown model, a missing key, another program and nobody at all are told apart")
  func failures() async throws {
    let missing = try Self.answering(
      "404 Not Found", #"{"error": {"type": "model_not_found", "message": "no model named x"}}"#)
    let unknown = await failure { try await server(missing).close("x") }
    #expect(unknown?.kind == .notFound && unknown?.description(for: .command).contains("x") == true)

    let guarded = try Self.answering("401 Unauthorized", #"{"error": {"message": "a key is needed"}}"#)
    let keyless = await failure { _ = try await server(guarded).openModels() }
    #expect(keyless?.kind == .usage && keyless?.description(for: .command).contains("--api-key") == true)

    for body in ["<html>Hello</html>", "[]", "{}"] {
      let other = try Self.answering("200 OK", body)
      let strange = await failure { _ = try await server(other).openModels() }
      let said = strange?.description(for: .command) ?? ""
      #expect(strange?.kind == .unavailable && said.contains("no limn server"), "\(body)")
    }

    // Port 1 belongs to nobody here.
    let nobody = await failure { _ = try await RunningServer(address: "http://127.0.0.1:1").openModels() }
    #expect(nobody?.kind == .unavailable && nobody?.description(for: .command).contains("limn serve") == true)
    let socket = await failure { _ = try await RunningServer(socket: "/nonexistent/limn.sock").openModels() }
    #expect(
      socket?.kind == .unavailable && socket?.description(for: .command).contains("/nonexistent/limn.sock") == true)
  }
}
