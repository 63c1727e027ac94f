import Limn
import LimnCore

/// `POST /v1/completions`: a text goes on, without a template.
enum Completions {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/v1/completions", .completions) { fields, context in
      var job = AnswerJob(model: try fields.required("model"), prompt: try prompt(fields))
      try OpenAI.options(fields, into: &job)
      if fields.value("max_tokens") == nil { job.options.maxTokens = 16 }
      if let most = try OpenAI.maxTokens(fields, "max_tokens") { job.options.maxTokens = most }
      job.options.format = try OpenAI.format(fields)
      job.options.logprobs = try fields.int("logprobs", in: 0...5)
      guard try fields.int("best_of", in: 1...128) ?? 1 <= job.choices else {
        throw Refusal.invalid("best_of", "this server writes no more answers than n", code: "unsupported_value")
      }
      // Only an insertion that asks for nothing can be made.
      if let suffix = try fields.string("suffix"), !suffix.isEmpty {
        throw Refusal.invalid("suffix", "this model cannot fill a text in the middle", code: "unsupported_value")
      }
      var echo = ""
      if try fields.bool("echo") ?? false, case .raw(let text, _) = job.prompt { echo = text }
      let isStreamed = try fields.bool("stream") ?? false
      let usage = try fields.object("stream_options")?.bool("include_usage") ?? false
      let run = try await server.answers.start(job, for: await context.caller())
      if isStreamed { return .stream(run, as: CompletionStream(job: job, echo: echo, showsUsage: usage)) }
      let outcome = try await run.outcome(choices: job.choices)
      let choices = outcome.answers.enumerated().map { index, answer in
        choice(
          index, echo + answer.text, answer.finishReason.rawValue,
          job.options.logprobs == nil ? nil : logprobs(outcome.logprobs[index], from: echo.count))
      }
      var body = head(OpenAI.newID("cmpl-"), outcome.admission.model)
      body.set("choices", to: .array(choices))
      body.set(
        "usage",
        to: OpenAI.usage(outcome.answers))
      body.set("timings", to: OpenAI.timings(outcome.answers))
      return .json(.object(body))
    }
  }

  static func prompt(_ fields: RequestFields) throws(Refusal) -> Limn.Request.Prompt {
    guard let value = fields.value("prompt") else { throw fields.missing("prompt") }
    if let text = value.string { return .raw(text, images: []) }
    guard let items = value.array, !items.isEmpty else { throw fields.wrong("prompt", "a string or token ids") }
    if items.count == 1, let text = items[0].string { return .raw(text, images: []) }
    let ids = (items.count == 1 ? items[0].array ?? items : items).map(\.int)
    let known = ids.compactMap(\.self)
    guard known.count == ids.count, known.allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
      throw fields.wrong("prompt", "one string, or the token ids of one text")
    }
    return .tokens(known)
  }

  fileprivate static func head(_ id: String, _ model: String) -> JSONObject {
    ["id": .string(id), "object": "text_completion", "created": OpenAI.now(), "model": .string(model)]
  }

  fileprivate static func choice(_ index: Int, _ text: String, _ finish: String?, _ logprobs: JSON? = nil) -> JSON {
    .object([
      "index": .integer(index), "text": .string(text), "logprobs": logprobs ?? .null,
      "finish_reason": finish.map(JSON.string) ?? .null,
    ])
  }

  /// The older form, which has lists of the same length.
  /// - Parameter offset: where the first token begins, in characters.
  fileprivate static func logprobs(_ tokens: [TokenLogprob], from offset: Int) -> JSON {
    var (offset, offsets) = (offset, [JSON]())
    for token in tokens {
      offsets.append(.integer(offset))
      offset += token.chosen.text.count
    }
    let top = tokens.map { token in
      var object = JSONObject()
      for other in token.top { object.set(other.text, to: .number(max(other.logprob, -9999))) }
      return JSON.object(object)
    }
    return .object([
      "tokens": .array(tokens.map { .string($0.chosen.text) }),
      "token_logprobs": .array(tokens.map { .number(max($0.chosen.logprob, -9999)) }), "top_logprobs": .array(top),
      "text_offset": .array(offsets),
    ])
  }
}

private struct CompletionStream: AnswerEncoder {
  private let id = OpenAI.newID("cmpl-")
  private let echo: String
  private let showsUsage: Bool
  private var model: String
  private var begun: Set<Int> = []
  private var answers: [Answer] = []
  private let showsLogprobs: Bool
  /// Tokens whose text has not come yet, and where the next one begins.
  private var tokens: [Int: [TokenLogprob]] = [:]
  private var offsets: [Int: Int] = [:]

  init(job: AnswerJob, echo: String, showsUsage: Bool) {
    showsLogprobs = job.options.logprobs != nil
    self.echo = echo
    self.showsUsage = showsUsage
    model = job.model
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .admitted(let admission):
      model = admission.model
      return ""
    case .answer(let choice, .tokens(let new)):
      tokens[choice, default: []] += new
      return ""
    case .answer(let choice, .text(let piece)):
      let before = begun.insert(choice).inserted ? echo : ""
      return chunk([Completions.choice(choice, before + piece, nil, logprobs(choice))])
    case .answer(let choice, .finished(let answer)):
      answers.append(answer)
      return chunk([Completions.choice(choice, "", answer.finishReason.rawValue, logprobs(choice))])
    default: return ""
    }
  }

  private mutating func logprobs(_ choice: Int) -> JSON? {
    guard showsLogprobs, let new = tokens.removeValue(forKey: choice), !new.isEmpty else { return nil }
    let offset = offsets[choice] ?? echo.count
    offsets[choice] = offset + new.reduce(0) { $0 + $1.chosen.text.count }
    return Completions.logprobs(new, from: offset)
  }

  private func chunk(_ choices: [JSON], usage: JSON? = nil) -> String {
    var chunk = Completions.head(id, model)
    chunk.set("choices", to: .array(choices))
    if let usage { chunk.set("usage", to: usage) }
    return serverSentEvent(.object(chunk))
  }

  mutating func end() -> String {
    guard showsUsage else { return "data: [DONE]\n\n" }
    return chunk([], usage: OpenAI.usage(answers)) + "data: [DONE]\n\n"
  }

  mutating func failure(_ refusal: Refusal) -> String { serverSentEvent(OpenAI.error(refusal)) }
}
