import Foundation
import Limn
import LimnCore

/// What all of OpenAI's endpoints share.
enum OpenAI {
  static func error(_ refusal: Refusal) -> JSON {
    let type =
      switch refusal.kind {
      case .authentication: "authentication_error"
      case .permission: "permission_error"
      case .rateLimit: "rate_limit_error"
      case .defect, .unavailable, .timeout: "server_error"
      default: "invalid_request_error"
      }
    return .object([
      "error": .object([
        "message": .string(refusal.message), "type": .string(type), "param": refusal.param.map(JSON.string) ?? .null,
        "code": refusal.code.map(JSON.string) ?? .null,
      ])
    ])
  }

  static func newID(_ prefix: String) -> String {
    prefix + String(UInt64.random(in: .min ... .max), radix: 36) + String(UInt64.random(in: .min ... .max), radix: 36)
  }

  static func now() -> JSON { .integer(Int(Date.now.timeIntervalSince1970)) }

  // MARK: Options

  /// Sampling and limits by the names that chat and completions share, llama.cpp's included.
  static func options(_ fields: RequestFields, into job: inout AnswerJob) throws(Refusal) {
    var sampling = Sampling()
    sampling.temperature = try fields.double("temperature", in: 0...2) ?? 0
    sampling.topP = max(1e-9, try fields.double("top_p", in: 0...1) ?? 1)
    sampling.topK = max(0, try fields.int("top_k", in: -1...Int(Int32.max)) ?? 0)
    sampling.minP = try fields.double("min_p", in: 0...1) ?? 0
    sampling.repeatPenalty = try fields.double("repeat_penalty", in: 0.01...100) ?? 1
    sampling.presencePenalty = try fields.double("presence_penalty", in: -2...2) ?? 0
    sampling.frequencyPenalty = try fields.double("frequency_penalty", in: -2...2) ?? 0
    sampling.seed = try seed(fields)
    job.options.sampling = sampling
    job.options.stops = try fields.strings("stop", atMost: 16) ?? []
    job.options.logitBias = try logitBias(fields)
    job.options.ignoresEnd = try fields.bool("ignore_eos") ?? false
    job.options.reuse = try fields.bool("cache_prompt") ?? true
    job.choices = try fields.int("n", in: 1...128) ?? 1
  }

  /// Any whole number: negative ones are seeds as well.
  static func seed(_ fields: RequestFields) throws(Refusal) -> UInt64? {
    try fields.int("seed", in: .min ... .max).map { UInt64(bitPattern: Int64($0)) }
  }

  /// - Returns: nil where the client leaves it open; −1 says so, too.
  static func maxTokens(_ fields: RequestFields, _ names: String...) throws(Refusal) -> Int? {
    for name in names {
      guard let number = try fields.int(name, in: -1...Int(Int32.max)) else { continue }
      guard number != 0 else { throw fields.wrong(name, "a whole number, at least 1") }
      return number == -1 ? nil : number
    }
    return nil
  }

  private static func logitBias(_ fields: RequestFields) throws(Refusal) -> [Int: Double] {
    guard let object = try fields.object("logit_bias") else { return [:] }
    var bias: [Int: Double] = [:]
    for key in object.json.object?.keys ?? [] {
      guard let id = Int(key), id >= 0 else { throw object.wrong(key, "named by a token id") }
      // OpenAI's −100 bans a token.
      let value = try object.double(key, in: -100...100) ?? 0
      bias[id] = value == -100 ? -.infinity : value
    }
    return bias
  }

  /// `response_format`.
  static func format(_ fields: RequestFields, _ name: String = "response_format") throws(Refusal) -> AnswerFormat {
    guard let format = try fields.object(name) else { return .text }
    switch try format.required("type") {
    case "text": return .text
    case "json_object": return .jsonObject
    case "json_schema":
      // In /v1/responses the schema's members lie beside the type.
      let holder = name == "response_format" ? try format.object("json_schema") : format
      guard let holder else { throw format.missing("json_schema") }
      guard let schema = holder.value("schema") else { throw holder.missing("schema") }
      return .json(schema: schema.serialised())
    default: throw format.wrong("type", "text, json_object or json_schema")
    }
  }

  /// A model that calls no tools answers in words, unless the client insists.
  static func checkTools(_ fields: RequestFields) throws(Refusal) {
    _ = try fields.objects("tools")
    guard let choice = fields.value("tool_choice") else { return }
    if let word = choice.string, ["none", "auto"].contains(word) { return }
    throw .invalid(
      "tool_choice", "this model calls no tools: tool_choice must be none or auto", code: "unsupported_value")
  }

  // MARK: Messages

  /// Messages with their pictures, which are fetched where they are URLs.
  static func messages(
    _ fields: RequestFields, _ pictures: Pictures, name: String = "messages"
  ) async throws(Refusal) -> [ChatMessage] {
    guard let items = try fields.objects(name) else { throw fields.missing(name) }
    guard !items.isEmpty else { throw .invalid(fields.name(name), "\(name) is empty") }
    var messages: [ChatMessage] = []
    for item in items { messages.append(try await message(item, pictures)) }
    return messages
  }

  private static func message(_ item: RequestFields, _ pictures: Pictures) async throws(Refusal) -> ChatMessage {
    let role = try item.role()
    guard let content = item.value("content") else {
      guard role == .assistant else { throw item.missing("content") }
      return ChatMessage(role, [.text("")])
    }
    if let text = content.string { return ChatMessage(role, [.text(text)]) }
    guard content.array != nil else { throw item.wrong("content", "a string or a list of parts") }
    var parts: [ChatMessage.Part] = []
    for part in try item.objects("content") ?? [] {
      switch try part.required("type") {
      case "text", "input_text", "output_text", "refusal":
        let (text, refusal) = (try part.string("text"), try part.string("refusal"))
        parts.append(.text(text ?? refusal ?? ""))
      case "image_url", "input_image":
        guard role != .system else { throw part.wrong("type", "text, in a system message") }
        let (url, field) = try imageURL(part)
        parts.append(.image(try await pictures.source(url: url, field: field)))
      default: throw part.wrong("type", "text or image_url")
      }
    }
    return ChatMessage(role, parts)
  }

  /// An object with a URL, or plainly the URL.
  private static func imageURL(_ part: RequestFields) throws(Refusal) -> (String, String) {
    if let text = part.value("image_url")?.string { return (text, part.name("image_url")) }
    guard let object = try part.object("image_url") else { throw part.missing("image_url") }
    if let detail = try object.string("detail"), !["auto", "low", "high", "original"].contains(detail) {
      throw object.wrong("detail", "auto, low, high or original")
    }
    return (try object.required("url"), object.name("url"))
  }

  // MARK: Answers

  /// The prompt counts once, whatever the number of answers.
  static func usage(_ answers: [Answer]) -> JSON {
    let prompt = answers.first?.usage.promptTokens ?? 0
    let cached = prompt - (answers.first?.timings.promptComputed ?? prompt)
    let completion = answers.reduce(0) { $0 + $1.usage.completionTokens }
    return .object([
      "prompt_tokens": .integer(prompt), "completion_tokens": .integer(completion),
      "total_tokens": .integer(prompt + completion),
      "prompt_tokens_details": .object(["cached_tokens": .integer(max(0, cached))]),
    ])
  }

  /// Times by llama.cpp's names, in milliseconds.
  static func timings(_ answers: [Answer]) -> JSON {
    guard let first = answers.first?.timings else { return .null }
    let predicted = answers.reduce(0) { $0 + $1.usage.completionTokens }
    let milliseconds = answers.map(\.timings.predicted).max() ?? 0
    let prompt = answers.first?.usage.promptTokens ?? 0
    func rate(_ count: Int, _ milliseconds: Double) -> JSON {
      .number(milliseconds > 0 ? Double(count) / milliseconds * 1000 : 0)
    }
    func each(_ count: Int, _ milliseconds: Double) -> JSON { .number(count > 0 ? milliseconds / Double(count) : 0) }
    return .object([
      "cache_n": .integer(prompt - first.promptComputed), "prompt_n": .integer(first.promptComputed),
      "prompt_ms": .number(first.prompt), "prompt_per_token_ms": each(first.promptComputed, first.prompt),
      "prompt_per_second": rate(first.promptComputed, first.prompt), "predicted_n": .integer(predicted),
      "predicted_ms": .number(milliseconds), "predicted_per_token_ms": each(predicted, milliseconds),
      "predicted_per_second": rate(predicted, milliseconds), "image_ms": .number(first.imageEncode),
    ])
  }

  static func logprobs(_ tokens: [TokenLogprob]) -> JSON {
    func described(_ token: TokenLogprob.Alternative) -> JSONObject {
      [
        "token": .string(token.text), "logprob": .number(max(token.logprob, -9999)),
        "bytes": .array(token.bytes.map { .integer(Int($0)) }),
      ]
    }
    let content = tokens.map { token in
      var object = described(token.chosen)
      object.set("top_logprobs", to: .array(token.top.map { .object(described($0)) }))
      return JSON.object(object)
    }
    return .object(["content": .array(content), "refusal": .null])
  }
}
