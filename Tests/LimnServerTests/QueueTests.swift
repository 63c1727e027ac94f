import Foundation
import HTTPTypes
import Limn
import LimnCore
import LimnTesting
import Synchronization
import Testing

import LimnServer

/// Who got a place, in turn.
private final class Order: Sendable {
  private let state = Mutex<[String]>([])
  var names: [String] { state.withLock { $0 } }
  func add(_ name: String) { state.withLock { $0.append(name) } }
}

@Suite("Places and models")
struct QueueTests {
  @Test("among clients without an answer under way the next place goes to who has waited longest")
  func fairness() async throws {
    let queue = AnswerQueue(places: 1, limit: 10)
    let order = Order()
    try await queue.enter("a")
    await withTaskGroup(of: Void.self) { group in
      for (index, client) in ["a", "a", "b", "c"].enumerated() {
        group.addTask {
          guard (try? await queue.enter(client)) != nil else { return }
          order.add(client)
          await queue.leave(client, after: 0)
        }
        while await queue.waitingCount <= index { await Task.yield() }
      }
      await queue.leave("a", after: 0)
    }
    #expect(order.names == ["a", "a", "b", "c"])
    #expect(await queue.runningCount == 0)
  }

  @Test("a client with an answer under way waits behind those that have none")
  func fewestFirst() async throws {
    let queue = AnswerQueue(places: 2, limit: 10)
    let order = Order()
    try await queue.enter("a")
    try await queue.enter("z")
    await withTaskGroup(of: Void.self) { group in
      for (index, client) in ["a", "b"].enumerated() {
        group.addTask {
          guard (try? await queue.enter(client)) != nil else { return }
          order.add(client)
          await queue.leave(client, after: 0)
        }
        while await queue.waitingCount <= index { await Task.yield() }
      }
      await queue.leave("z", after: 0)
    }
    #expect(order.names == ["b", "a"])
  }

  @Test("one that waits too many is refused with the time after which to ask again")
  func limit() async throws {
    let queue = AnswerQueue(places: 1, limit: 0)
    try await queue.enter("a")
    do {
      try await queue.enter("b")
      Issue.record("it was let in")
    } catch {
      #expect(error.status == 429)
      let seconds = error.headers.first { $0.name == "Retry-After" }.flatMap { Int($0.value) }
      #expect((1...60).contains(seconds ?? 0))
    }
  }

  @Test("who leaves while waiting is forgotten, and takes no place")
  func cancellation() async throws {
    let queue = AnswerQueue(places: 1, limit: 1)
    try await queue.enter("a")
    let waiting = Task { try await queue.enter("b") }
    while await queue.waitingCount == 0 { await Task.yield() }
    waiting.cancel()
    await #expect(throws: Refusal.self) { try await waiting.value }
    #expect(await queue.waitingCount == 0)
    await queue.leave("a", after: 0)
    #expect(await queue.runningCount == 0)
    try await queue.enter("c")
  }

  @Test("models are opened when they are first used, and closed as keep_alive says")
  func keepAlive() async throws {
    let pool = try ModelPool(ServerOptions())
    #expect(await pool.open.isEmpty)
    try await pool.use("limn-demo:latest") { _ in }
    #expect(await pool.open.map(\.id) == ["limn-demo"])
    try await pool.use("limn-demo", keepAlive: .seconds(0)) { _ in }
    #expect(await pool.open.isEmpty)
    try await pool.use("limn-demo", keepAlive: .forever) { _ in }
    #expect(await pool.open.first?.expires == nil)
    try await pool.unload("limn-demo")
    #expect(await pool.open.isEmpty)
  }

  @Test("a model that is closed while it is used, and opened again for others, is closed in its time all the same")
  func reopened() async throws {
    let pool = try ModelPool(ServerOptions())
    try await pool.use("limn-demo") { _ in
      try await pool.unload("limn-demo")
      try await pool.use("limn-demo") { _ in }
    }
    // Were the first user counted off the second opening, it would never seem unused again.
    try await pool.use("limn-demo", keepAlive: .seconds(0)) { _ in }
    #expect(await pool.open.isEmpty)
  }

  @Test("where memory is short the least recently used model makes room, never one that is in use")
  func eviction() async throws {
    let folder = try TemporaryFolder()
    let demo = try DemoModel.path()
    for name in ["one", "two", "three"] {
      try FileManager.default.createSymbolicLink(atPath: folder.path + "/" + name, withDestinationPath: demo)
    }
    let size = try ModelPool(ServerOptions()).models[0].memoryBytes
    var options = ServerOptions()
    options.models = ["one", "two", "three"].map { folder.path + "/" + $0 }
    options.memory = 2 * size + size / 2
    let pool = try ModelPool(options)
    try await pool.use("one") { _ in }
    try await pool.use("two") { _ in }
    try await pool.use("one") { _ in }
    try await pool.use("three") { _ in }
    #expect(await pool.open.map(\.id) == ["one", "three"])
    try await pool.use("one") { _ in try await pool.use("two") { _ in } }
    #expect(await pool.open.map(\.id) == ["one", "two"])
  }

  @Test("a broken model is an error of its own request, and the others answer")
  func brokenModel() async throws {
    let folder = try TemporaryFolder()
    let broken = folder.path + "/broken.gguf"
    try Data("no model".utf8).write(to: URL(fileURLWithPath: broken))
    let demo = try DemoModel.path()
    let tester = try ServerTester { $0.models = [broken, demo] }
    func ask(_ model: String) async throws -> ServerTester.Reply {
      try await tester.post(
        "/v1/chat/completions",
        .object([
          "model": .string(model), "max_tokens": .integer(2), "stream": .bool(true),
          "messages": .array([.object(["role": "user", "content": "What is there?"])]),
        ]))
    }
    let reply = try await ask("broken")
    #expect(reply.status == 500)
    #expect(reply.headers[.init("x-should-retry")!] == "false")
    #expect(try reply.json["error"]?["code"]?.string == "model_unreadable")
    #expect(try await ask("limn-demo").status == 200)
    #expect(try await tester.get("/v1/models").json["data"]?.array?.count == 2)
  }
}
