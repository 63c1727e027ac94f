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

  private enum Work: Hashable {
    case call(Int)
    case channel(Int)
  }

  private let calls: LMStudioCalls
  private let server: Services
  private let caller: Caller
  private let send: @Sendable (JSON) -> Void
  private var isGreeted = false
  /// What is being worked on, and how it is stopped.
  private var works: [Work: Departure] = [:]
  /// Bytes of the messages that are being worked on.
  private var bytes = 0
  private var lastChannel = Int.min
  /// Added to a model's predictions: the seed with which it was loaded here.
  private var seeds: [String: Int] = [:]

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
    routes.get("/lmstudio-greeting") { _, _ in .json(.object(["lmstudio": .bool(true)])) }
    for namespace in Namespace.allCases {
      routes.socket("/\(namespace.rawValue)") { messages, context, send in
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

  // MARK: Work

  private func begin(_ work: Work, size: Int) throws(Refusal) -> Caller {
    guard works.count < Self.workLimit else {
      throw Refusal(.rateLimit, "at most \(Self.workLimit) calls and channels can be open on one socket")
    }
    guard bytes == 0 || bytes + size <= server.options.maxBody else {
      throw Refusal(.rateLimit, "the messages being worked on have more than \(server.options.maxBody) bytes")
    }
    let departure = Departure()
    works[work] = departure
    return Caller(name: caller.name, departure: departure)
  }

  private func call(_ id: Int, _ message: RequestFields, size: Int) -> (@Sendable () async -> Void)? {
    @Sendable func fail(_ refusal: Refusal) {
      send(.object(["type": "rpcError", "callId": .integer(id), "error": LMStudio.socketError(refusal)]))
    }
    do throws(Refusal) {
      let caller = try begin(.call(id), size: size)
      return { [self] in
        let answer: Result<JSON?, Refusal>
        do throws(Refusal) {
          let parameter = try Self.object(message, "parameter")
          answer = .success(try await calls.answer(try message.required("endpoint"), parameter, caller))
        } catch {
          answer = .failure(error)
        }
        await ended(.call(id))
        switch answer {
        case .success(let result):
          var object: JSONObject = ["type": "rpcResult", "callId": .integer(id)]
          if let result { object.set("result", to: result) }
          send(.object(object))
        case .failure(let refusal): fail(refusal)
        }
      }
    } catch {
      fail(error)
      return nil
    }
  }

  private func channel(_ id: Int, _ message: RequestFields, size: Int) -> (@Sendable () async -> Void)? {
    @Sendable func fail(_ refusal: Refusal) {
      send(.object(["type": "channelError", "channelId": .integer(id), "error": LMStudio.socketError(refusal)]))
    }
    do throws(Refusal) {
      let caller = try begin(.channel(id), size: size)
      return { [self] in
        var failure: Refusal?
        do throws(Refusal) {
          try await run(message, caller) { [send] message in
            send(.object(["type": "channelSend", "channelId": .integer(id), "message": .object(message)]))
          }
        } catch {
          failure = error
        }
        await ended(.channel(id))
        if let failure { fail(failure) } else { send(.object(["type": "channelClose", "channelId": .integer(id)])) }
      }
    } catch {
      fail(error)
      return nil
    }
  }

  private static func object(_ message: RequestFields, _ name: String) throws(Refusal) -> RequestFields {
    if let object = try message.object(name) { return object }
    return try RequestFields(.object([:]), path: name)
  }

  private func ended(_ work: Work) { works[work] = nil }

  private func run(
    _ message: RequestFields, _ caller: Caller, _ send: @escaping @Sendable (JSONObject) -> Void
  ) async throws(Refusal) {
    let endpoint = try message.required("endpoint")
    let parameter = try Self.object(message, "creationParameter")
    switch (calls.namespace, endpoint) {
    case (.llm, "predict"):
      let model = try calls.model(parameter, "modelSpecifier")
      try await LMStudioPrediction(model: model, seed: seeds[model.id], server: server)
        .run(parameter, for: caller, send)
    case (.llm, "getOrLoad"), (.embedding, "getOrLoad"), (.llm, "loadModel"), (.embedding, "loadModel"):
      let (id, seed) = try await calls.load(parameter, send)
      seeds[id] = seed
    default: throw calls.nothing(at: endpoint)
    }
  }
}
