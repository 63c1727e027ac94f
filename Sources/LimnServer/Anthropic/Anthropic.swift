import Limn
import LimnCore

/// Anthropic's `POST /v1/messages` and `/v1/messages/count_tokens`.
enum Anthropic {
  static func error(_ refusal: Refusal) -> JSON {
    let type =
      switch refusal.kind {
      case .authentication: "authentication_error"
      case .permission: "permission_error"
      case .notFound: "not_found_error"
      case .tooLarge: "request_too_large"
      case .rateLimit: "rate_limit_error"
      case .unavailable, .timeout: "overloaded_error"
      case .defect: "api_error"
      default: "invalid_request_error"
      }
    return .object([
      "type": "error", "error": .object(["type": .string(type), "message": .string(refusal.message)]),
    ])
  }

  static func add(to routes: Routes, _ server: Services) {
    routes.post("/v1/messages", .messages) { fields, context in
      let job = try await job(fields, server.pictures)
      let isStreamed = try fields.bool("stream") ?? false
      let run = try await server.answers.start(job, for: await context.caller())
      let id = OpenAI.newID("msg_")
      if isStreamed { return .stream(run, as: MessageStream(id: id, job: job)) }
      let outcome = try await run.outcome(choices: 1)
      return .json(.object(message(id, outcome.admission.model, outcome.answers[0])))
    }
    routes.post("/v1/messages/count_tokens", .countTokens) { fields, context in
      var job = AnswerJob(model: try fields.required("model"), prompt: .tokens([]))
      job.prompt = .messages(try await messages(fields, server.pictures))
      let request = job.request(choice: 0)
      try Pictures.check(request)
      let count = try await server.answers.hold(job.model, for: await context.caller()) { try await $0.count(request) }
      return .json(.object(["input_tokens": .integer(count)]))
    }
  }

  // MARK: Requests

  private static func job(_ fields: RequestFields, _ pictures: Pictures) async throws(Refusal) -> AnswerJob {
    var job = AnswerJob(model: try fields.required("model"), prompt: .tokens([]))
    guard let most = try fields.int("max_tokens", in: 1...Int(Int32.max)) else { throw fields.missing("max_tokens") }
    job.options.maxTokens = most
    job.options.sampling.temperature = try fields.double("temperature", in: 0...2) ?? 0
    job.options.sampling.topP = max(1e-9, try fields.double("top_p", in: 0...1) ?? 1)
    job.options.sampling.topK = max(0, try fields.int("top_k", in: -1...Int(Int32.max)) ?? 0)
    job.options.sampling.seed = try OpenAI.seed(fields)
    job.options.ignoresEnd = try fields.bool("ignore_eos") ?? false
    job.options.stops = try fields.strings("stop_sequences", atMost: 16) ?? []
    _ = try fields.objects("tools")
    if let choice = try fields.object("tool_choice"), !["auto", "none"].contains(try choice.required("type")) {
      throw .invalid("tool_choice", "this model calls no tools: tool_choice must be auto or none")
    }
    if let thinking = try fields.object("thinking"), try thinking.string("type") == "enabled" {
      throw .invalid("thinking", "this model does not think before it answers")
    }
    // `output_format` is the older name.
    let (new, old) = (try fields.object("output_config")?.object("format"), try fields.object("output_format"))
    if let format = new ?? old {
      guard try format.required("type") == "json_schema" else { throw format.wrong("type", "json_schema") }
      guard let schema = format.value("schema") else { throw format.missing("schema") }
      job.options.format = .json(schema: AnthropicSchema.restored(schema).serialised())
    }
    job.prompt = .messages(try await messages(fields, pictures))
    return job
  }

  private static func messages(_ fields: RequestFields, _ pictures: Pictures) async throws(Refusal) -> [ChatMessage] {
    guard let items = try fields.objects("messages") else { throw fields.missing("messages") }
    guard !items.isEmpty else { throw .invalid("messages", "messages is empty") }
    var messages: [ChatMessage] = []
    if let system = try system(fields), !system.isEmpty { messages.append(ChatMessage(.system, [.text(system)])) }
    for item in items {
      guard let role = ChatMessage.Role(rawValue: try item.required("role")), role != .system else {
        throw item.wrong("role", "user or assistant; system is a member of the request")
      }
      messages.append(ChatMessage(role, try await parts(item, pictures)))
    }
    return messages
  }

  /// A string, or blocks of text.
  private static func system(_ fields: RequestFields) throws(Refusal) -> String? {
    guard let value = fields.value("system") else { return nil }
    if let text = value.string { return text }
    let blocks = try fields.objects("system") ?? []
    return try blocks.map { block throws(Refusal) in try block.required("text") }.joined(separator: "\n")
  }

  private static func parts(_ item: RequestFields, _ pictures: Pictures) async throws(Refusal) -> [ChatMessage.Part] {
    guard let content = item.value("content") else { throw item.missing("content") }
    if let text = content.string { return [.text(text)] }
    guard let blocks = try item.objects("content") else { return [] }
    var parts: [ChatMessage.Part] = []
    for block in blocks {
      switch try block.required("type") {
      case "text": parts.append(.text(try block.required("text")))
      case "image":
        guard let source = try block.object("source") else { throw block.missing("source") }
        switch try source.required("type") {
        case "base64":
          let data = try source.required("data")
          parts.append(.image(try Pictures.source(inline: data, field: source.name("data"))))
        case "url":
          let url = try source.required("url")
          parts.append(.image(try await pictures.source(url: url, field: source.name("url"))))
        default: throw source.wrong("type", "base64 or url")
        }
      default: throw block.wrong("type", "text or image")
      }
    }
    return parts
  }

  // MARK: Answers

  private static func message(_ id: String, _ model: String, _ answer: Answer) -> JSONObject {
    [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model),
      "content": .array([.object(["type": "text", "text": .string(answer.text)])]),
      "stop_reason": .string(reason(answer)), "stop_sequence": answer.stop.map(JSON.string) ?? .null,
      "usage": usage(input: answer.usage.promptTokens, output: answer.usage.completionTokens),
    ]
  }

  fileprivate static func reason(_ answer: Answer) -> String {
    answer.stop != nil ? "stop_sequence" : answer.finishReason == .length ? "max_tokens" : "end_turn"
  }

  fileprivate static func usage(input: Int, output: Int) -> JSON {
    .object([
      "input_tokens": .integer(input), "output_tokens": .integer(output),
      "cache_creation_input_tokens": .integer(0), "cache_read_input_tokens": .integer(0),
    ])
  }
}

/// The events of a streamed message.
private struct MessageStream: AnswerEncoder {
  private let id: String
  private var model: String
  private var hasBegun = false
  private var answer: Answer?

  init(id: String, job: AnswerJob) {
    self.id = id
    model = job.model
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .admitted(let admission):
      model = admission.model
      return ""
    // The first event that knows how long the prompt is.
    case .answer(_, .reading(_, let total)): return begin(input: total)
    case .answer(_, .text(let piece)):
      return Self.event(
        "content_block_delta",
        ["index": .integer(0), "delta": .object(["type": "text_delta", "text": .string(piece)])])
    case .answer(_, .finished(let answer)):
      self.answer = answer
      return begin(input: answer.usage.promptTokens)
    default: return ""
    }
  }

  private mutating func begin(input: Int) -> String {
    guard !hasBegun else { return "" }
    hasBegun = true
    let message: JSONObject = [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model), "content": .array([]),
      "stop_reason": .null, "stop_sequence": .null, "usage": Anthropic.usage(input: input, output: 0),
    ]
    return Self.event("message_start", ["message": .object(message)])
      + Self.event(
        "content_block_start",
        ["index": .integer(0), "content_block": .object(["type": "text", "text": ""])])
  }

  mutating func end() -> String {
    guard let answer else { return failure(Refusal(.unavailable, "the answer was stopped")) }
    let delta: JSONObject = [
      "stop_reason": .string(Anthropic.reason(answer)), "stop_sequence": answer.stop.map(JSON.string) ?? .null,
    ]
    let usage = Anthropic.usage(input: answer.usage.promptTokens, output: answer.usage.completionTokens)
    return Self.event("content_block_stop", ["index": .integer(0)])
      + Self.event("message_delta", ["delta": .object(delta), "usage": usage]) + Self.event("message_stop", [:])
  }

  func failure(_ refusal: Refusal) -> String { serverSentEvent(Anthropic.error(refusal), name: "error") }

  private static func event(_ type: String, _ data: JSONObject) -> String {
    var object: JSONObject = ["type": .string(type)]
    for (key, value) in data.members { object.set(key, to: value) }
    return serverSentEvent(.object(object), name: type)
  }
}
