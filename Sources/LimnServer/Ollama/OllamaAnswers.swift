import Foundation
import Hummingbird
import Limn
import LimnCore

/// `POST /api/chat` and `/api/generate`.
enum OllamaAnswers {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/api/chat", .ollamaChat) { fields, context in
      let model = try fields.required("model")
      let items = try fields.objects("messages") ?? []
      var job = AnswerJob(model: model, prompt: .messages(try messages(items)))
      return try await respond(&job, fields, context, server, isChat: true, isEmpty: items.isEmpty)
    }
    routes.post("/api/generate", .ollamaGenerate) { fields, context in
      let prompt = try fields.string("prompt") ?? ""
      let images = try images(fields)
      var job = AnswerJob(model: try fields.required("model"), prompt: .tokens([]))
      if try fields.bool("raw") ?? false {
        job.prompt = .raw(prompt, images: images)
      } else {
        var messages = [ChatMessage(.user, images.map(ChatMessage.Part.image) + [.text(prompt)])]
        if let system = try fields.string("system"), !system.isEmpty {
          messages.insert(ChatMessage(.system, [.text(system)]), at: 0)
        }
        job.prompt = .messages(messages)
      }
      if let suffix = try fields.string("suffix"), !suffix.isEmpty {
        throw Refusal.invalid("suffix", "\(job.model) does not support insert")
      }
      return try await respond(&job, fields, context, server, isChat: false, isEmpty: prompt.isEmpty && images.isEmpty)
    }
  }

  private static func respond(
    _ job: inout AnswerJob, _ fields: RequestFields, _ context: ServerContext, _ server: Services, isChat: Bool,
    isEmpty: Bool
  ) async throws -> Response {
    try server.pool.check(job.model)
    try Ollama.options(fields, into: &job)
    if let think = fields.value("think"), think.bool != false {
      throw Refusal.invalid("think", "\"\(LimnError.printable(job.model))\" does not support thinking")
    }
    let isStreamed = try fields.bool("stream") ?? true
    if isEmpty {
      return .json(try await openOrClose(job, context, server, isChat: isChat))
    }
    let run = try await server.answers.start(job, for: await context.caller())
    var stream = OllamaStream(job: job, isChat: isChat)
    if isStreamed { return .stream(run, as: stream) }
    let outcome = try await run.outcome(choices: 1)
    return .json(.object(stream.whole(outcome)))
  }

  /// A request without a question only opens the model, or closes it.
  private static func openOrClose(
    _ job: AnswerJob, _ context: ServerContext, _ server: Services, isChat: Bool
  ) async throws(Refusal) -> JSON {
    var reason = "load"
    if job.keepAlive == .seconds(0) {
      try await server.pool.unload(job.model)
      reason = "unload"
    } else {
      try await server.pool.use(job.model, keepAlive: job.keepAlive) { _ in }
    }
    var object: JSONObject = ["model": .string(job.model), "created_at": Ollama.time(.now)]
    if isChat {
      object.set("message", to: .object(["role": "assistant", "content": ""]))
    } else {
      object.set("response", to: "")
    }
    object.set("done", to: .bool(true))
    object.set("done_reason", to: .string(reason))
    return .object(object)
  }

  // MARK: Requests

  private static func messages(_ items: [RequestFields]) throws(Refusal) -> [ChatMessage] {
    try items.map { item throws(Refusal) in
      let role = try item.role()
      if let content = item.value("content"), let parts = content.array {
        // Not Ollama's form, but some send it.
        let texts = parts.compactMap { $0["text"]?.string }
        guard texts.count == parts.count else { throw item.wrong("content", "a string; pictures go into images") }
        return ChatMessage(role, try images(item).map(ChatMessage.Part.image) + texts.map(ChatMessage.Part.text))
      }
      let text = try item.string("content") ?? ""
      return ChatMessage(role, try images(item).map(ChatMessage.Part.image) + [.text(text)])
    }
  }

  private static func images(_ fields: RequestFields) throws(Refusal) -> [ImageSource] {
    let texts = try fields.strings("images", atMost: Pictures.limit) ?? []
    return try texts.enumerated().map { index, text throws(Refusal) in
      try Pictures.source(inline: text, field: "\(fields.name("images"))[\(index)]")
    }
  }
}

/// The lines of a streamed answer, and the whole as one object.
struct OllamaStream: AnswerEncoder {
  static var contentType: String { "application/x-ndjson" }
  /// Clients parse every line.
  static var ping: String? { nil }

  private let isChat: Bool
  private let name: String
  private var admission = Admission(model: "")
  private var answer: Answer?

  init(job: AnswerJob, isChat: Bool) {
    self.isChat = isChat
    name = job.model
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .admitted(let admission): self.admission = admission
    case .answer(_, .text(let piece)): return line(head(piece, isDone: false))
    case .answer(_, .finished(let answer)): self.answer = answer
    default: break
    }
    return ""
  }

  mutating func end() -> String {
    guard let answer else { return failure(Refusal(.unavailable, "the answer was stopped")) }
    return line(last(answer, text: ""))
  }

  func failure(_ refusal: Refusal) -> String { Ollama.error(refusal).serialised(.compact) + "\n" }

  mutating func whole(_ outcome: AnswerOutcome) -> JSONObject {
    admission = outcome.admission
    return last(outcome.answers[0], text: outcome.answers[0].text)
  }

  private func last(_ answer: Answer, text: String) -> JSONObject {
    var object = head(text, isDone: true)
    let total = ContinuousClock.now.secondsSince(admission.started) * 1000
    // A one-token answer takes no time after its first token; clients divide by this.
    let evaluation = max(answer.timings.predicted, 0.001)
    for (key, value) in [
      ("done_reason", JSON.string(answer.finishReason.rawValue)),
      ("total_duration", Ollama.nanoseconds(max(total, evaluation))),
      ("load_duration", Ollama.nanoseconds(admission.loading * 1000)),
      ("prompt_eval_count", .integer(answer.usage.promptTokens)),
      ("prompt_eval_duration", Ollama.nanoseconds(answer.timings.imageEncode + answer.timings.prompt)),
      ("eval_count", .integer(answer.usage.completionTokens)), ("eval_duration", Ollama.nanoseconds(evaluation)),
    ] { object.set(key, to: value) }
    return object
  }

  private func head(_ text: String, isDone: Bool) -> JSONObject {
    var object: JSONObject = ["model": .string(name), "created_at": Ollama.time(.now)]
    if isChat {
      object.set("message", to: .object(["role": "assistant", "content": .string(text)]))
    } else {
      object.set("response", to: .string(text))
    }
    object.set("done", to: .bool(isDone))
    return object
  }

  private func line(_ object: JSONObject) -> String { JSON.object(object).serialised(.compact) + "\n" }
}
