import Hummingbird
import Limn
import LimnCore
import NIOCore

/// One WebSocket of LM Studio's packages. Its messages are calls, which have one answer, and channels, on which both sides
/// send until one closes it.
actor LMStudioSocket {
  /// What a socket is for, by its path. Nothing is offered in `repository`, but clients connect to it to learn that.
  enum Namespace: String, CaseIterable, Sendable {
    case llm, embedding, system, files, repository
  }

  enum Work: Hashable {
    case call(Int)
    case channel(Int)
  }

  let calls: LMStudioCalls
  let server: Services
  let caller: Caller
  let send: @Sendable (JSON) -> Void
  private var isGreeted = false
  /// What is being worked on, and how it is stopped.
  var works: [Work: Departure] = [:]
  /// Bytes of the messages that are being worked on.
  var bytes = 0
  private var lastChannel = Int.min
  /// Added to a model's predictions: the seed with which it was loaded here.
  var seeds: [String: Int] = [:]

  static let workLimit = 64
  private static let greetingPatience = Duration.seconds(30)

  init(_ namespace: Namespace, _ server: Services, _ caller: Caller, _ send: @escaping @Sendable (JSON) -> Void) {
    calls = LMStudioCalls(namespace: namespace, server: server)
    self.server = server
    self.caller = caller
    self.send = send
  }

  /// The packages bring no key, so where one is needed they are not answered.
  static func add(to routes: Routes, _ server: Services) {
    guard server.options.apiKeys.isEmpty else { return }
    routes.get("/lmstudio-greeting", .lmStudioGreeting) { _, _ in .json(.object(["lmstudio": .bool(true)])) }
    for namespace in Namespace.allCases {
      routes.socket("/\(namespace.rawValue)", "What LM Studio's packages speak.") { messages, context, send in
        let caller = await context.caller()
        let socket = LMStudioSocket(namespace, server, caller, send)
        caller.departure.add { Task { await socket.leave() } }
        let patience = Task {
          try await Task.sleep(for: greetingPatience)
          if await !socket.isGreeted { context.channel.close(promise: nil) }
        }
        await socket.serve(messages)
        patience.cancel()
      }
    }
  }

  /// Until the client leaves, or the server stops; what was begun is finished.
  private func serve(_ messages: RequestBody) async {
    await withDiscardingTaskGroup { group in
      do {
        for try await buffer in messages {
          let size = buffer.readableBytes
          guard let work = receive(Array(buffer.readableBytesView)) else {
            if isGreeted { continue } else { break }
          }
          bytes += size
          group.addTask {
            await work()
            await self.finished(size)
          }
        }
      } catch {
        // The connection broke; whoever notices that stops what is being worked on.
      }
    }
  }

  private func leave() { for departure in works.values { departure.leave() } }

  private func finished(_ size: Int) { bytes -= size }

  // MARK: Messages

  /// - Returns: what is to be done about a message; nil if nothing is left to do.
  private func receive(_ data: [UInt8]) -> (@Sendable () async -> Void)? {
    guard String(validating: data, as: UTF8.self) != nil, let json = try? JSON.parse(data, place: "the message"),
      let message = try? RequestFields(json)
    else {
      return isGreeted ? warn("a message must be a JSON object in UTF-8") : greet(nil)
    }
    guard isGreeted else { return greet(message) }
    switch json["type"]?.string {
    case "rpcCall":
      guard let id = json["callId"]?.int, works[.call(id)] == nil else {
        return warn("a call needs a callId of its own")
      }
      return call(id, message, size: data.count)
    case "channelCreate":
      guard let id = json["channelId"]?.int, works[.channel(id)] == nil else {
        return warn("a channel needs a channelId of its own")
      }
      lastChannel = max(lastChannel, id)
      return channel(id, message, size: data.count)
    case "channelSend", "channelClose":
      guard let id = json["channelId"]?.int, id <= lastChannel else { return warn("there is no such channel") }
      // A channel that has just ended may still be written to.
      guard json["type"] == "channelClose" || json["message"]?["type"] == "cancel" else {
        return warn("channels take nothing but cancel")
      }
      works[.channel(id)]?.leave()
    case "keepAlive": send(.object(["type": "keepAliveAck"]))
    default: return warn("there is no such type of message")
    }
    return nil
  }

  private func greet(_ message: RequestFields?) -> (@Sendable () async -> Void)? {
    guard message?.json["authVersion"]?.int == 1, message?.json["clientIdentifier"]?.string != nil else {
      let refusal = Refusal(.authentication, "the first message must have authVersion 1 and a clientIdentifier")
      send(.object(["success": .bool(false), "error": LMStudio.socketError(refusal)]))
      return nil
    }
    isGreeted = true
    send(.object(["success": .bool(true)]))
    return nil
  }

  private func warn(_ text: String) -> (@Sendable () async -> Void)? {
    send(.object(["type": "communicationWarning", "warning": .string(text)]))
    return nil
  }
}
