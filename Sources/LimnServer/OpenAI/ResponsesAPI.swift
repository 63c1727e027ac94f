import Foundation
import Limn
import LimnCore

/// `POST /v1/responses`.
enum ResponsesAPI {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/v1/responses", .responses) { fields, context in
      let (job, messages) = try await job(fields, server)
      let isStored = try fields.bool("store") ?? true
      let isStreamed = try fields.bool("stream") ?? false
      let keep = { @Sendable (id: String, text: String) in
        if isStored { server.conversations.keep(messages + [ChatMessage(.assistant, [.text(text)])], as: id) }
      }
      let run = try await server.answers.start(job, for: await context.caller())
      let writer = ResponseWriting(fields, model: try server.pool.check(job.model).id)
      if isStreamed { return .stream(run, as: ResponseStream(writer: writer, keep: keep)) }
      let outcome = try await run.outcome(choices: 1)
      keep(writer.id, outcome.answers[0].text)
      return .json(.object(writer.response(outcome.answers[0])))
    }
  }

  private static func job(
    _ fields: RequestFields, _ server: Services
  ) async throws(Refusal) -> (AnswerJob, [ChatMessage]) {
    let model = try fields.required("model")
    try OpenAI.checkTools(fields)
    var messages: [ChatMessage] = []
    if let previous = try fields.string("previous_response_id") {
      // Instructions hold for one request.
      messages = try server.conversations.messages(of: previous).filter { $0.role != .system }
    }
    if let text = fields.value("input")?.string {
      messages.append(ChatMessage(.user, [.text(text)]))
    } else {
      messages += try await OpenAI.messages(fields, server.pictures, name: "input")
    }
    if let instructions = try fields.string("instructions") {
      messages.insert(ChatMessage(.system, [.text(instructions)]), at: 0)
    }
    var job = AnswerJob(model: model, prompt: .messages(messages))
    try OpenAI.options(fields, into: &job)
    job.choices = 1
    if let most = try OpenAI.maxTokens(fields, "max_output_tokens") { job.options.maxTokens = most }
    if let text = try fields.object("text") { job.options.format = try OpenAI.format(text, "format") }
    if try fields.string("truncation") == "auto" { job.options.overflow = .truncateMiddle }
    return (job, messages)
  }
}

/// Writes the objects of one response.
struct ResponseWriting: Sendable {
  let id = OpenAI.newID("resp_")
  let itemID = OpenAI.newID("msg_")
  private let created = OpenAI.now()
  private let model: String
  private let fields: RequestFields

  init(_ fields: RequestFields, model: String) {
    self.fields = fields
    self.model = model
  }

  /// - Parameter answer: nil while it is being made.
  func response(_ answer: Answer?, error: JSON = .null) -> JSONObject {
    let isCut = answer?.finishReason == .length
    let status = answer == nil ? (error.isNull ? "in_progress" : "failed") : isCut ? "incomplete" : "completed"
    func echo(_ name: String, _ fallback: JSON = .null) -> JSON { fields.value(name) ?? fallback }
    var object: JSONObject = [
      "id": .string(id), "object": "response", "created_at": created, "status": .string(status), "error": error,
      "incomplete_details": isCut ? .object(["reason": "max_output_tokens"]) : .null,
      "instructions": echo("instructions"), "max_output_tokens": echo("max_output_tokens"), "model": .string(model),
      "output": .array(answer.map { [item($0.text, status: isCut ? "incomplete" : "completed")] } ?? []),
      "parallel_tool_calls": echo("parallel_tool_calls", .bool(true)),
      "previous_response_id": echo("previous_response_id"), "store": echo("store", .bool(true)),
      "temperature": echo("temperature", .number(0)),
      "text": echo("text", .object(["format": .object(["type": "text"])])), "tool_choice": "auto",
      "tools": .array([]), "top_p": echo("top_p", .number(1)), "truncation": echo("truncation", "disabled"),
      "metadata": echo("metadata", .object([:])),
    ]
    if let answer { object.set("usage", to: usage(answer)) }
    return object
  }

  private func usage(_ answer: Answer) -> JSON {
    let usage = answer.usage
    let cached = max(0, usage.promptTokens - answer.timings.promptComputed)
    return .object([
      "input_tokens": .integer(usage.promptTokens),
      "input_tokens_details": .object(["cached_tokens": .integer(cached), "cache_write_tokens": .integer(0)]),
      "output_tokens": .integer(usage.completionTokens),
      "output_tokens_details": .object(["reasoning_tokens": .integer(0)]),
      "total_tokens": .integer(usage.promptTokens + usage.completionTokens),
    ])
  }

  func item(_ text: String?, status: String) -> JSON {
    .object([
      "id": .string(itemID), "type": "message", "role": "assistant", "status": .string(status),
      "content": .array(text.map { [part($0)] } ?? []),
    ])
  }

  func part(_ text: String) -> JSON {
    .object(["type": "output_text", "text": .string(text), "annotations": .array([]), "logprobs": .array([])])
  }
}

/// The typed events of a streamed response.
struct ResponseStream: AnswerEncoder {
  private let writer: ResponseWriting
  private let keep: @Sendable (String, String) -> Void
  private var number = 0
  private var hasBegun = false
  private var answer: Answer?

  init(writer: ResponseWriting, keep: @escaping @Sendable (String, String) -> Void) {
    self.writer = writer
    self.keep = keep
  }

  mutating func encode(_ event: AnswerRunEvent) -> String {
    switch event {
    case .admitted: return begin()
    case .answer(_, .text(let piece)):
      return begin() + typed("response.output_text.delta", place(["delta": .string(piece), "logprobs": .array([])]))
    case .answer(_, .finished(let answer)):
      self.answer = answer
      return ""
    default: return ""
    }
  }

  private mutating func begin() -> String {
    guard !hasBegun else { return "" }
    hasBegun = true
    let response = JSON.object(writer.response(nil))
    return typed("response.created", ["response": response]) + typed("response.in_progress", ["response": response])
      + typed(
        "response.output_item.added", ["output_index": .integer(0), "item": writer.item(nil, status: "in_progress")])
      + typed("response.content_part.added", place(["part": writer.part("")]))
  }

  mutating func end() -> String {
    guard let answer else { return failure(Refusal(.unavailable, "the answer was stopped")) }
    keep(writer.id, answer.text)
    let isCut = answer.finishReason == .length
    let item = writer.item(answer.text, status: isCut ? "incomplete" : "completed")
    return begin()
      + typed("response.output_text.done", place(["text": .string(answer.text), "logprobs": .array([])]))
      + typed("response.content_part.done", place(["part": writer.part(answer.text)]))
      + typed("response.output_item.done", ["output_index": .integer(0), "item": item])
      + typed(
        isCut ? "response.incomplete" : "response.completed", ["response": .object(writer.response(answer))])
  }

  mutating func failure(_ refusal: Refusal) -> String {
    let error = JSON.object([
      "code": .string(refusal.code ?? "server_error"), "message": .string(refusal.message),
    ])
    return begin() + typed("response.failed", ["response": .object(writer.response(nil, error: error))])
      + typed(
        "error",
        [
          "code": .string(refusal.code ?? "server_error"), "message": .string(refusal.message), "param": .null,
        ])
  }

  private func place(_ more: JSONObject) -> JSONObject {
    var object: JSONObject = [
      "item_id": .string(writer.itemID), "output_index": .integer(0), "content_index": .integer(0),
    ]
    for (key, value) in more.members { object.set(key, to: value) }
    return object
  }

  private mutating func typed(_ type: String, _ data: JSONObject) -> String {
    var object: JSONObject = ["type": .string(type), "sequence_number": .integer(number)]
    for (key, value) in data.members { object.set(key, to: value) }
    number += 1
    return serverSentEvent(.object(object), name: type)
  }
}
