import Limn
import LimnCore

/// Calls and channels while they are open.
extension LMStudioSocket {
  private func begin(_ work: Work, size: Int) throws(Refusal) -> Caller {
    guard works.count < Self.workLimit else {
      throw Refusal(.rateLimit, "at most \(Self.workLimit) calls and channels can be open on one socket")
    }
    guard bytes == 0 || bytes + size <= server.options.maxBody else {
      throw Refusal(.rateLimit, "the messages being worked on have more than \(server.options.maxBody) bytes")
    }
    let departure = Departure()
    works[work] = departure
    // Messages may still be read when their sender is gone.
    if caller.departure.hasLeft { departure.leave() }
    return Caller(name: caller.name, departure: departure)
  }

  func call(_ id: Int, _ message: RequestFields, size: Int) -> (@Sendable () async -> Void)? {
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

  func channel(_ id: Int, _ message: RequestFields, size: Int) -> (@Sendable () async -> Void)? {
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
