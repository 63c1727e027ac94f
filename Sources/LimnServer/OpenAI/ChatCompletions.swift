import Limn
import LimnCore

/// `POST /v1/chat/completions`.
enum ChatCompletions {
  static func add(to routes: Routes, _ server: Services) {
    for path in ["/v1/chat/completions", "/chat/completions"] {
      routes.post(path, .chatCompletions) { fields, context in
        let job = try await job(fields, server.pictures)
        let isStreamed = try fields.bool("stream") ?? false
        let run = try await server.answers.start(job, for: await context.caller())
        if isStreamed {
          let usage = try fields.object("stream_options")?.bool("include_usage") ?? false
          return .stream(run, as: ChatStream(job: job, showsUsage: usage))
        }
        return .json(answer(job, try await run.outcome(choices: job.choices)))
      }
    }
  }

  static func job(_ fields: RequestFields, _ pictures: Pictures) async throws(Refusal) -> AnswerJob {
    let model = try fields.required("model")
    try OpenAI.checkTools(fields)
    var job = AnswerJob(model: model, prompt: .tokens([]))
    try OpenAI.options(fields, into: &job)
    if let most = try OpenAI.maxTokens(fields, "max_completion_tokens", "max_tokens") { job.options.maxTokens = most }
    job.options.format = try OpenAI.format(fields)
    let top = try fields.int("top_logprobs", in: 0...20)
    if try fields.bool("logprobs") ?? false {
      job.options.logprobs = top ?? 0
    } else if let top, top > 0 {
      throw .invalid("top_logprobs", "top_logprobs needs logprobs: true")
    }
    if let options = try fields.object("stream_options") { _ = try options.bool("include_usage") }
    _ = try fields.bool("stream")
    job.prompt = .messages(try await OpenAI.messages(fields, pictures))
    return job
  }

  private static func answer(_ job: AnswerJob, _ outcome: AnswerOutcome) -> JSON {
    let choices = outcome.answers.indices.map { index -> JSON in
      let answer = outcome.answers[index]
      return .object([
        "index": .integer(index),
        "message": .object(["role": "assistant", "content": .string(answer.text), "refusal": .null]),
        "logprobs": job.options.logprobs == nil ? .null : OpenAI.logprobs(outcome.logprobs[index]),
        "finish_reason": .string(answer.finishReason.rawValue),
      ])
    }
    return .object([
      "id": .string(OpenAI.newID("chatcmpl-")), "object": "chat.completion", "created": OpenAI.now(),
      "model": .string(outcome.admission.model), "system_fingerprint": .string("limn-\(Limn.version)"),
      "choices": .array(choices),
      "usage": OpenAI.usage(outcome.answers),
      "timings": OpenAI.timings(outcome.answers),
    ])
  }
}

/// The chunks of a streamed chat completion.
struct ChatStream: AnswerEncoder {
  private let id = OpenAI.newID("chatcmpl-")
  private let created = OpenAI.now()
  private let showsUsage: Bool
  private let showsLogprobs: Bool
  private var model: String
  private var begun: Set<Int> = []
  private var answers: [Answer] = []
  /// Tokens whose text has not come yet.
  private var tokens: [Int: [TokenLogprob]] = [:]

  init(job: AnswerJob, showsUsage: Bool) {
    self.showsUsage = showsUsage
    showsLogprobs = job.options.logprobs != nil
    model = job.model
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .admitted(let admission):
      model = admission.model
      return ""
    case .answer(let choice, let event): return encode(event, of: choice)
    case .opening, .tick: return ""
    }
  }

  private mutating func encode(_ event: AnswerEvent, of choice: Int) -> String {
    switch event {
    case .tokens(let new):
      tokens[choice, default: []] += new
      return ""
    case .text(let piece): return begin(choice) + chunk(choice, delta: ["content": .string(piece)])
    case .finished(let answer):
      answers.append(answer)
      let rest = tokens[choice]?.isEmpty == false ? chunk(choice, delta: ["content": ""]) : ""
      let timings = showsUsage ? nil : OpenAI.timings([answer])
      return begin(choice) + rest
        + chunk(choice, delta: [:], finish: answer.finishReason.rawValue, timings: timings)
    default: return ""
    }
  }

  private mutating func begin(_ choice: Int) -> String {
    guard begun.insert(choice).inserted else { return "" }
    return chunk(choice, delta: ["role": "assistant", "content": ""], logprobs: false)
  }

  private mutating func chunk(
    _ choice: Int, delta: JSONObject, finish: String? = nil, timings: JSON? = nil, logprobs: Bool = true
  ) -> String {
    var object: JSONObject = [
      "index": .integer(choice), "delta": .object(delta), "logprobs": .null,
      "finish_reason": finish.map(JSON.string) ?? .null,
    ]
    if logprobs, showsLogprobs, let new = tokens.removeValue(forKey: choice), !new.isEmpty {
      object.set("logprobs", to: OpenAI.logprobs(new))
    }
    var chunk = head
    chunk.set("choices", to: .array([.object(object)]))
    if showsUsage { chunk.set("usage", to: .null) }
    if let timings { chunk.set("timings", to: timings) }
    return serverSentEvent(.object(chunk))
  }

  private var head: JSONObject {
    [
      "id": .string(id), "object": "chat.completion.chunk", "created": created, "model": .string(model),
      "system_fingerprint": .string("limn-\(Limn.version)"),
    ]
  }

  mutating func end() -> String {
    var text = ""
    if showsUsage {
      var chunk = head
      chunk.set("choices", to: .array([]))
      chunk.set("usage", to: OpenAI.usage(answers))
      chunk.set("timings", to: OpenAI.timings(answers))
      text = serverSentEvent(.object(chunk))
    }
    return text + "data: [DONE]\n\n"
  }

  mutating func failure(_ refusal: Refusal) -> String { serverSentEvent(OpenAI.error(refusal)) }
}
