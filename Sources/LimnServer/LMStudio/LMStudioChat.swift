import Limn
import LimnCore

/// `POST /api/v1/chat`.
enum LMStudioChat {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/api/v1/chat", .lmStudioChat) { fields, context in
      let (job, messages) = try await job(fields, server)
      let isStored = try fields.bool("store") ?? true
      let isStreamed = try fields.bool("stream") ?? false
      let id = isStored ? OpenAI.newID("resp_") : nil
      let keep = { @Sendable (text: String) in
        guard let id else { return }
        server.conversations.keep(messages + [ChatMessage(.assistant, [.text(text)])], as: id)
      }
      let run = try await server.answers.start(job, for: await context.caller())
      let model = try server.pool.check(job.model).id
      if isStreamed { return .stream(run, as: LMStudioStream(model: model, id: id, keep: keep)) }
      let outcome = try await run.outcome(choices: 1)
      keep(outcome.answers[0].text)
      return .json(result(outcome.answers[0], outcome.admission, id))
    }
  }

  private static func job(
    _ fields: RequestFields, _ server: Services
  ) async throws(Refusal) -> (AnswerJob, [ChatMessage]) {
    let model = try fields.required("model")
    guard fields.value("integrations")?.array?.isEmpty != false else {
      throw .invalid("integrations", "this server has no integrations")
    }
    var messages: [ChatMessage] = []
    if let previous = try fields.string("previous_response_id") {
      messages = try server.conversations.messages(of: previous)
    }
    if let system = try fields.string("system_prompt") {
      messages.removeAll { $0.role == .system }
      messages.insert(ChatMessage(.system, [.text(system)]), at: 0)
    }
    messages.append(ChatMessage(.user, try parts(fields)))
    var job = AnswerJob(model: model, prompt: .messages(messages))
    try OpenAI.options(fields, into: &job)
    job.choices = 1
    if let most = try OpenAI.maxTokens(fields, "max_output_tokens") { job.options.maxTokens = most }
    return (job, messages)
  }

  private static func parts(_ fields: RequestFields) throws(Refusal) -> [ChatMessage.Part] {
    guard let input = fields.value("input") else { throw fields.missing("input") }
    if let text = input.string { return [.text(text)] }
    guard let items = try fields.objects("input"), !items.isEmpty else {
      throw fields.wrong("input", "a text or a list")
    }
    return try items.map { item throws(Refusal) in
      switch try item.required("type") {
      case "message", "text": return .text(try item.required("content"))
      case "image":
        return .image(try Pictures.source(inline: try item.required("data_url"), field: item.name("data_url")))
      default: throw item.wrong("type", "message or image")
      }
    }
  }

  fileprivate static func result(_ answer: Answer, _ admission: Admission, _ id: String?) -> JSON {
    let timings = answer.timings
    var stats: JSONObject = [
      "input_tokens": .integer(answer.usage.promptTokens),
      "total_output_tokens": .integer(answer.usage.completionTokens), "reasoning_output_tokens": .integer(0),
      "tokens_per_second": .number(
        Double(max(1, timings.predictedTokens)) / max(timings.predicted, 0.001) * 1000),
      "time_to_first_token_seconds": .number(timings.firstToken / 1000),
    ]
    if admission.loading > 0 { stats.set("model_load_time_seconds", to: .number(admission.loading)) }
    var object: JSONObject = [
      "model_instance_id": .string(admission.model),
      "output": .array([.object(["type": "message", "content": .string(answer.text)])]), "stats": .object(stats),
    ]
    if let id { object.set("response_id", to: .string(id)) }
    return .object(object)
  }
}

/// The events of a streamed chat.
private struct LMStudioStream: AnswerEncoder {
  private let id: String?
  private let keep: @Sendable (String) -> Void
  private var admission: Admission
  private var hasStarted = false
  private var hasOpened = false
  private var isRead = false
  private var hasText = false
  private var answer: Answer?

  init(model: String, id: String?, keep: @escaping @Sendable (String) -> Void) {
    admission = Admission(model: model)
    self.id = id
    self.keep = keep
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .opening(let progress):
      return open()
        + Self.event(
          "model_load.progress", ["model_instance_id": .string(admission.model), "progress": .number(progress)])
    case .admitted(let admission):
      self.admission = admission
      var text = start()
      if admission.loading > 0 {
        text += open()
        text += Self.event(
          "model_load.end",
          [
            "model_instance_id": .string(admission.model), "load_time_seconds": .number(admission.loading),
          ])
      }
      return text + Self.event("prompt_processing.start", [:])
    case .answer(_, .reading(let done, let total)):
      return isRead
        ? ""
        : Self.event(
          "prompt_processing.progress", ["progress": .number(Double(done) / Double(max(1, total)))])
    case .answer(_, .text(let piece)):
      return begin() + Self.event("message.delta", ["content": .string(piece)])
    case .answer(_, .finished(let answer)):
      self.answer = answer
      return ""
    default: return ""
    }
  }

  private mutating func start() -> String {
    guard !hasStarted else { return "" }
    hasStarted = true
    return Self.event("chat.start", ["model_instance_id": .string(admission.model)])
  }

  private mutating func open() -> String {
    guard !hasOpened else { return "" }
    hasOpened = true
    return start() + Self.event("model_load.start", ["model_instance_id": .string(admission.model)])
  }

  private mutating func begin() -> String {
    guard !hasText else { return "" }
    (hasText, isRead) = (true, true)
    return Self.event("prompt_processing.end", [:]) + Self.event("message.start", [:])
  }

  mutating func end() -> String {
    guard let answer else { return failure(Refusal(.unavailable, "the answer was stopped")) }
    keep(answer.text)
    return begin() + Self.event("message.end", [:])
      + Self.event("chat.end", ["result": LMStudioChat.result(answer, admission, id)])
  }

  func failure(_ refusal: Refusal) -> String {
    let result = JSON.object(["model_instance_id": .string(admission.model), "output": .array([])])
    return Self.event("error", LMStudio.error(refusal).object ?? [:]) + Self.event("chat.end", ["result": result])
  }

  private static func event(_ type: String, _ data: JSONObject) -> String {
    var object: JSONObject = ["type": .string(type)]
    for (key, value) in data.members { object.set(key, to: value) }
    return serverSentEvent(.object(object), name: type)
  }
}
