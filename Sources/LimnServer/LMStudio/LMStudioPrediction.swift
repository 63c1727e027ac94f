import Limn
import LimnCore

/// The channel on which a model answers.
struct LMStudioPrediction: Sendable {
  let model: ServedModel
  /// For predictions that give none.
  let seed: Int?
  let server: Services

  func run(
    _ parameter: RequestFields, for caller: Caller, _ send: @Sendable (JSONObject) -> Void
  ) async throws(Refusal) {
    let config = try LMStudioConfig(try parameter.object("predictionConfigStack"))
    var answer: Answer?
    var pieces = 0
    do throws(Refusal) {
      let job = try job(parameter, config)
      let run = try await server.answers.start(job, for: caller)
      defer { run.cancel() }
      do {
        for try await event in run.events {
          switch event {
          case .answer(_, .reading(let done, let total)) where pieces == 0:
            send(["type": "promptProcessingProgress", "progress": .number(Double(done) / Double(max(1, total)))])
          case .answer(_, .text(let piece)):
            pieces += 1
            send(["type": "fragment", "fragment": .object(Self.fragment(piece))])
          case .answer(_, .finished(let value)): answer = value
          default: break
          }
        }
      } catch {
        throw Refusal(error)
      }
      guard let answer else { throw Refusal(.unavailable, "the answer was stopped") }
      let context = await server.pool.open.first { $0.id == model.id }?.model.context ?? model.contextLength
      send(success(Self.stats(answer, job), config, context))
    } catch {
      // Who stopped it knows why, and gets the rest of what belongs to an answer.
      if caller.departure.hasLeft { return send(success(["stopReason": "userStopped"], config, model.contextLength)) }
      send(["type": "error", "error": LMStudio.socketError(error)])
    }
  }

  private func job(_ parameter: RequestFields, _ config: LMStudioConfig) throws(Refusal) -> AnswerJob {
    guard let history = try parameter.object("history") else { throw parameter.missing("history") }
    let messages = try Self.messages(history, server.files)
    var job = AnswerJob(model: model.id, prompt: .messages(messages))
    if config.isCompletion {
      job.prompt = .raw(messages.flatMap(\.texts).joined(), images: messages.flatMap(\.images))
    }
    try config.apply(to: &job, seed: seed)
    return job
  }

  private func success(_ stats: JSONObject, _ config: LMStudioConfig, _ context: Int) -> JSONObject {
    [
      "type": "success", "stats": .object(stats), "modelInfo": .object(LMStudio.instance(model, context, "llm")),
      "loadModelConfig": LMStudioConfig.load(context: context, .llm), "predictionConfig": config.json,
    ]
  }

  /// The tokens of a piece are not counted: it is nearly always one. The statistics at the end are exact.
  private static func fragment(_ piece: String) -> JSONObject {
    [
      "content": .string(piece), "tokensCount": .integer(1), "containsDrafted": .bool(false), "reasoningType": "none",
    ]
  }

  private static func stats(_ answer: Answer, _ job: AnswerJob) -> JSONObject {
    let (usage, timings) = (answer.usage, answer.timings)
    let reason =
      switch answer.finishReason {
      case .stop: answer.stop == nil ? "eosFound" : "stopStringFound"
      case .length:
        usage.completionTokens >= job.options.maxTokens ? "maxPredictedTokensReached" : "contextLengthReached"
      }
    return [
      "stopReason": .string(reason), "promptTokensCount": .integer(usage.promptTokens),
      "predictedTokensCount": .integer(usage.completionTokens),
      "totalTokensCount": .integer(usage.promptTokens + usage.completionTokens),
      "tokensPerSecond": .number(Double(max(1, timings.predictedTokens)) / max(timings.predicted, 0.001) * 1000),
      "timeToFirstTokenSec": .number(timings.firstToken / 1000),
    ]
  }

  // MARK: Histories

  /// The messages of a history, with the pictures that its files stand for.
  static func messages(_ history: RequestFields, _ files: BoundedStore<ImageSource>) throws(Refusal) -> [ChatMessage] {
    guard let items = try history.objects("messages"), !items.isEmpty else { throw history.missing("messages") }
    return try items.map { item throws(Refusal) in
      let role = try item.role()
      if let text = item.value("content")?.string { return ChatMessage(role, [.text(text)]) }
      guard let parts = try item.objects("content") else { throw item.missing("content") }
      return ChatMessage(role, try parts.map { part throws(Refusal) in try self.part(part, role, files) })
    }
  }

  private static func part(
    _ part: RequestFields, _ role: ChatMessage.Role, _ files: BoundedStore<ImageSource>
  ) throws(Refusal) -> ChatMessage.Part {
    switch try part.required("type") {
    case "text": return .text(try part.required("text"))
    case "toolCallResult": return .text(try part.required("content"))
    case "file":
      guard role != .system else { throw part.wrong("type", "text, in a system message") }
      let id = try part.required("identifier")
      guard let source = files[id] else {
        throw .invalid(
          part.name("identifier"), "there is no file \(LimnError.printable(id)) here, or no longer; hand it in again",
          code: "file_not_found")
      }
      return .image(source)
    default: throw part.wrong("type", "text, file or toolCallResult")
    }
  }
}
