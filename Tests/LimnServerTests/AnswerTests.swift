import Foundation
import HTTPTypes
import Limn
import LimnCore
import Testing

import LimnServer

@Suite("Answers over HTTP")
struct AnswerTests {
  private static func text(_ answer: Answer) -> String { answer.text.trimmingCharacters(in: .whitespaces) }

  @Test("every API gives the answer that the library gives, with its counts")
  func everyAPI() async throws {
    let tester = try ServerTester()
    let expected = try await Scene.answer()
    let (text, usage) = (Self.text(expected), expected.usage)
    let image = try Scene.base64

    let chat = try await tester.post("/v1/chat/completions", Scene.chat()).json
    #expect(chat["choices"]?.array?.first?["message"]?["content"]?.string == text)
    #expect(chat["choices"]?.array?.first?["finish_reason"]?.string == "stop")
    #expect(chat["usage"]?["prompt_tokens"]?.int == usage.promptTokens)
    #expect(chat["usage"]?["completion_tokens"]?.int == usage.completionTokens)

    let message: JSON = .object([
      "role": "user", "content": .string(Scene.question), "images": .array([.string(image)]),
    ])
    let ollama = try await tester.post(
      "/api/chat",
      .object(["model": "limn-demo:latest", "messages": .array([message]), "stream": .bool(false)])
    ).json
    #expect(ollama["message"]?["content"]?.string == text)
    #expect(ollama["eval_count"]?.int == usage.completionTokens)

    let source: JSON = .object(["type": "base64", "media_type": "image/png", "data": .string(image)])
    let content: JSON = .array([
      .object(["type": "image", "source": source]), .object(["type": "text", "text": .string(Scene.question)]),
    ])
    let anthropic = try await tester.post(
      "/v1/messages",
      .object([
        "model": "limn-demo", "max_tokens": .integer(50),
        "messages": .array([.object(["role": "user", "content": content])]),
      ])
    ).json
    #expect(anthropic["content"]?.array?.first?["text"]?.string == text)
    #expect(anthropic["stop_reason"]?.string == "end_turn")
    #expect(anthropic["usage"]?["input_tokens"]?.int == usage.promptTokens)

    let input: JSON = .array([
      .object([
        "role": "user",
        "content": .array([
          .object(["type": "input_text", "text": .string(Scene.question)]),
          .object(["type": "input_image", "image_url": .string("data:;base64," + image)]),
        ]),
      ])
    ])
    let response = try await tester.post("/v1/responses", .object(["model": "limn-demo", "input": input])).json
    #expect(response["output"]?.array?.first?["content"]?.array?.first?["text"]?.string == text)
    #expect(response["status"]?.string == "completed")

    let items: JSON = .array([
      .object(["type": "message", "content": .string(Scene.question)]),
      .object(["type": "image", "data_url": .string("data:image/png;base64," + image)]),
    ])
    let studio = try await tester.post("/api/v1/chat", .object(["model": "limn-demo", "input": items])).json
    #expect(studio["output"]?.array?.first?["content"]?.string == text)
    #expect(studio["stats"]?["total_output_tokens"]?.int == usage.completionTokens)
  }

  @Test("a stream of chunks joins to the whole answer, and ends with usage only where that was asked for")
  func chunks() async throws {
    let tester = try ServerTester()
    let expected = Self.text(try await Scene.answer())
    let options: JSON = .object(["include_usage": .bool(true)])
    let reply = try await tester.post(
      "/v1/chat/completions", Scene.chat(["stream": .bool(true), "stream_options": options]))
    #expect(reply.headers[.contentType]?.hasPrefix("text/event-stream") == true)
    #expect(reply.events.last?.data == "[DONE]")
    let chunks = try reply.events.dropLast().map { try JSON.parse($0.data, place: "a chunk") }
    let texts = chunks.compactMap { $0["choices"]?.array?.first?["delta"]?["content"]?.string }
    #expect(texts.joined() == expected)
    #expect(chunks.first?["choices"]?.array?.first?["delta"]?["role"]?.string == "assistant")
    #expect(chunks.last?["choices"]?.array?.isEmpty == true)
    #expect(chunks.last?["usage"]?["completion_tokens"]?.int ?? 0 > 0)

    let plain = try await tester.post("/v1/chat/completions", Scene.chat(["stream": .bool(true)]))
    #expect(!plain.body.contains("\"choices\":[]"))
  }

  @Test("Ollama's streams are lines of JSON, the last of which is done")
  func lines() async throws {
    let tester = try ServerTester()
    let reply = try await tester.post(
      "/api/generate",
      .object([
        "model": "limn-demo", "prompt": .string(Scene.question), "images": .array([.string(try Scene.base64)]),
      ]))
    #expect(reply.headers[.contentType] == "application/x-ndjson")
    #expect(reply.body.hasSuffix("\n") && !reply.body.contains("\n\n"))
    let lines = try reply.body.split(separator: "\n").map { try JSON.parse(String($0), place: "a line") }
    #expect(lines.compactMap { $0["response"]?.string }.joined() == Self.text(try await Scene.answer()))
    #expect(lines.map { $0["done"]?.bool } == [Bool](repeating: false, count: lines.count - 1) + [true])
  }

  @Test("Anthropic's events come in their order, each with its type as its name")
  func events() async throws {
    let tester = try ServerTester()
    let reply = try await tester.post(
      "/v1/messages",
      .object([
        "model": "limn-demo", "max_tokens": .integer(3), "stream": .bool(true),
        "messages": .array([.object(["role": "user", "content": "What is there?"])]),
      ]))
    let types = try reply.events.map { try JSON.parse($0.data, place: "an event")["type"]?.string }
    #expect(types == reply.events.map(\.name))
    #expect(types.prefix(2) == ["message_start", "content_block_start"])
    #expect(types.suffix(3) == ["content_block_stop", "message_delta", "message_stop"])
    #expect(Set(types.dropFirst(2).dropLast(3)) == ["content_block_delta"])
  }

  @Test("several choices count the prompt once, and the same seed gives the same ones")
  func choices() async throws {
    let tester = try ServerTester()
    let ask = try Scene.chat([
      "n": .integer(3), "temperature": .number(2), "seed": .integer(5), "max_tokens": .integer(12),
      "ignore_eos": .bool(true),
    ])
    func texts() async throws -> [String?] {
      let answer = try await tester.post("/v1/chat/completions", ask).json
      #expect(answer["usage"]?["completion_tokens"]?.int == 36)
      return answer["choices"]?.array?.map { $0["message"]?["content"]?.string } ?? []
    }
    let first = try await texts()
    #expect(Set(first).count > 1)
    #expect(try await texts() == first)
  }

  @Test("a completion echoes its prompt, also one in a list, and makes 16 tokens unless told otherwise")
  func completions() async throws {
    let tester = try ServerTester()
    func ask(_ more: JSONObject) async throws -> JSON {
      var object: JSONObject = ["model": "limn-demo", "ignore_eos": .bool(true)]
      for (key, value) in more.members { object.set(key, to: value) }
      return try await tester.post("/v1/completions", .object(object)).json
    }
    let echoed = try await ask(["prompt": .array(["What is there?"]), "echo": .bool(true)])
    #expect(echoed["choices"]?.array?.first?["text"]?.string?.hasPrefix("What is there?") == true)
    #expect(echoed["usage"]?["completion_tokens"]?.int == 16)
    let short = try await ask(["prompt": "What is there?", "max_tokens": .integer(3)])
    #expect(short["usage"]?["completion_tokens"]?.int == 3)
  }

  @Test("an answer goes on from what the assistant has begun to say")
  func continuation() async throws {
    let model = try await VisionLanguageModel.load(try DemoModel.path())
    let whole = try await Scene.answer()
    let text = Self.text(whole)
    let begun = String(text.prefix(text.count / 2)).trimmingCharacters(in: .whitespaces)
    let messages = [
      ChatMessage(.user, Scene.question, images: [.data(try Scene.picture, name: "camp.png")]),
      ChatMessage(.assistant, begun),
    ]
    let rest = try await model.answer(Limn.Request(messages))
    #expect((begun + rest.text).filter { !$0.isWhitespace } == text.filter { !$0.isWhitespace })
  }

  @Test("a conversation goes on by the id of its last answer, and an unknown id is refused")
  func previousResponse() async throws {
    let tester = try ServerTester()
    func ask(_ previous: JSON) async throws -> JSON {
      try await tester.post(
        "/v1/responses",
        .object([
          "model": "limn-demo", "input": "What is there?", "previous_response_id": previous,
          "max_output_tokens": .integer(4),
        ])
      ).json
    }
    let first = try await ask(.null)
    #expect(first["status"]?.string == "incomplete")
    let second = try await ask(first["id"] ?? .null)
    #expect(second["usage"]?["input_tokens"]?.int ?? 0 > first["usage"]?["input_tokens"]?.int ?? 0)
    #expect(try await ask("resp_unknown")["error"]?["code"]?.string == "previous_response_not_found")
  }

  @Test(
    "beyond the queue every API refuses with 429 and the time after which to ask again, before any byte of a stream")
  func fullQueue() async throws {
    let tester = try ServerTester {
      $0.parallel = 1
      $0.queue = 0
    }
    func request(_ more: JSONObject) -> JSON {
      var object: JSONObject = [
        "model": "limn-demo", "messages": .array([.object(["role": "user", "content": "What is there?"])]),
        "prompt": "What is there?", "input": "What is there?",
      ]
      for (key, value) in more.members { object.set(key, to: value) }
      return .object(object)
    }
    // Somebody else has the only place for as long as the test likes.
    let queue = tester.server.queue
    try await queue.enter("somebody else")
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/api/generate", "/api/v1/chat"]
    {
      let reply = try await tester.post(path, request(["stream": .bool(true), "max_tokens": .integer(4)]))
      #expect(reply.status == 429, "\(path)")
      #expect((1...60).contains(Int(reply.headers[.retryAfter] ?? "") ?? 0))
      #expect(try reply.json["error"] != nil)
    }
    await queue.leave("somebody else", after: 1)
    #expect(try await tester.post("/v1/chat/completions", request(["max_tokens": .integer(4)])).status == 200)
    #expect(await queue.runningCount == 0)
  }

  @Test("embeddings have length 1 and do not depend on their companions")
  func embeddings() async throws {
    let tester = try ServerTester()
    func vectors(_ input: JSON) async throws -> [[Double]] {
      let reply = try await tester.post("/v1/embeddings", .object(["model": "limn-demo", "input": input]))
      return try reply.json["data"]?.array?.map { $0["embedding"]?.array?.compactMap(\.double) ?? [] } ?? []
    }
    let both = try await vectors(.array(["a red house", "rain over the sea"]))
    let one = try await vectors("rain over the sea")
    #expect(both.count == 2 && both[1] == one[0] && both[0] != both[1])
    for vector in both { #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4) }
  }

  @Test("/v1/completions gives log-probabilities in the older form, streamed or not, and refuses best_of")
  func completionLogprobs() async throws {
    let tester = try ServerTester()
    let request: JSONObject = [
      "model": "limn-demo", "prompt": "It is", "max_tokens": .integer(6), "logprobs": .integer(2),
      "temperature": .integer(0), "echo": .bool(true),
    ]
    let whole = try await tester.post("/v1/completions", .object(request)).json.object
    let choice = try #require(whole?["choices"]?.array?.first?.object)
    let logprobs = try #require(choice["logprobs"]?.object)
    let tokens = logprobs["tokens"]?.array?.compactMap(\.string) ?? []
    #expect("It is" + tokens.joined() == choice["text"]?.string)
    #expect(logprobs["token_logprobs"]?.array?.count == tokens.count)
    #expect(logprobs["top_logprobs"]?.array?.allSatisfy { $0.object?.members.count == 2 } == true)
    let offsets = tokens.indices.map { 5 + tokens[..<$0].joined().count }
    #expect(logprobs["text_offset"]?.array?.compactMap(\.int) == offsets)

    var streamed = request
    streamed.set("stream", to: .bool(true))
    let events = try await tester.post("/v1/completions", .object(streamed)).events.dropLast()
    let pieces = try events.compactMap {
      try JSON.parse($0.data, place: "an event").object?["choices"]?.array?.first?.object?["logprobs"]?.object
    }
    #expect(pieces.flatMap { $0["tokens"]?.array?.compactMap(\.string) ?? [] } == tokens)
    #expect(pieces.flatMap { $0["text_offset"]?.array?.compactMap(\.int) ?? [] } == offsets)

    var best = request
    best.set("best_of", to: .integer(3))
    let refused = try await tester.post("/v1/completions", .object(best))
    #expect(refused.status == 400 && refused.body.contains("best_of"))
  }

  @Test("LM Studio's stream tells how far the model is opened, and only the first time")
  func openingProgress() async throws {
    let tester = try ServerTester()
    let request = JSON.object(["model": "limn-demo", "input": "Hello", "stream": .bool(true)])
    let first = try await tester.post("/api/v1/chat", request).events
    let names = first.compactMap(\.name)
    #expect(names.starts(with: ["chat.start", "model_load.start"]))
    let end = try #require(names.firstIndex(of: "model_load.end"))
    #expect(names[2..<end].allSatisfy { $0 == "model_load.progress" } && names[end + 1] == "prompt_processing.start")
    let progress = try first.filter { $0.name == "model_load.progress" }.map {
      try JSON.parse($0.data, place: "an event").object?["progress"]?.double ?? -1
    }
    #expect(progress == progress.sorted() && progress.allSatisfy { (0...1).contains($0) })
    let second = try await tester.post("/api/v1/chat", request).events.compactMap(\.name)
    #expect(second.starts(with: ["chat.start", "prompt_processing.start"]))
  }
}
