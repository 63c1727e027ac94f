import Foundation
import HTTPTypes
import LimnCore
import Testing

import LimnServer

@Suite("Requests")
struct RequestTests {
  @Test(
    "a wrong field is refused by its name",
    arguments: [
      (#""temperature": 9"#, "temperature"), (#""temperature": "hot""#, "temperature"),
      (#""temperature": 1e999"#, "temperature"), (#""max_tokens": 0"#, "max_tokens"),
      (#""max_tokens": -2"#, "max_tokens"), (#""max_tokens": 1.5"#, "max_tokens"), (#""n": 0"#, "n"),
      (#""n": 1000"#, "n"), (#""top_p": 2"#, "top_p"), (#""stop": 5"#, "stop"), (#""stream": "yes""#, "stream"),
      (#""seed": "x""#, "seed"), (#""top_logprobs": 3"#, "top_logprobs"),
      (#""tool_choice": "required""#, "tool_choice"),
      (#""response_format": "json""#, "response_format"), (#""logit_bias": {"5": 200}"#, "logit_bias.5"),
      (#""response_format": {"type": "xml"}"#, "response_format.type"),
    ])
  func wrongFields(member: String, param: String) async throws {
    let body = #"{"model": "limn-demo", "messages": [{"role": "user", "content": "x"}], \#(member)}"#
    let reply = try await ServerTester().send(.post, "/v1/chat/completions", [:], "localhost", body)
    #expect(reply.status == 400)
    #expect(try reply.json["error"]?["param"]?.string == param)
  }

  @Test(
    "a body that is no JSON object is refused",
    arguments: ["", "[]", "null", "{", "{\"a\": }", String(repeating: "[", count: 100_000)])
  func bodies(body: String) async throws {
    let tester = try ServerTester()
    for path in ["/v1/chat/completions", "/api/chat", "/v1/messages", "/api/v1/chat", "/tokenize"] {
      #expect(try await tester.send(.post, path, [:], "localhost", body).status == 400)
    }
  }

  @Test(
    "a number too large to be kept is refused wherever it is, since an answer may repeat it",
    arguments: [
      (#""metadata": {"a": 1e999}"#, "metadata.a"), (#""text": {"x": [1, {"b": -1e400}]}"#, "text.x[1].b"),
      (#""unknown": 1e309"#, "unknown"),
    ])
  func infinities(member: String, param: String) async throws {
    let body = #"{"model": "limn-demo", "input": "x", "max_output_tokens": 1, \#(member)}"#
    let reply = try await ServerTester().send(.post, "/v1/responses", [:], "localhost", body)
    #expect(reply.status == 400)
    #expect(try reply.json["error"]?["param"]?.string == param)
  }

  @Test("too many pictures are refused in every API, also when they come in several messages")
  func tooManyPictures() async throws {
    let tester = try ServerTester()
    let image = try Scene.base64
    func list(_ item: JSON) -> JSON { .array([JSON](repeating: item, count: 40)) }
    func messages(_ item: JSON, _ name: String) -> JSON {
      let message: JSON = .object([
        "role": "user", "content": name == "images" ? "x" : list(item), "images": name == "images" ? list(item) : .null,
      ])
      return .array([message, .object(["role": "assistant", "content": "y"]), message])
    }
    let part: JSON = .object(["type": "image_url", "image_url": .string("data:;base64," + image)])
    let block: JSON = .object([
      "type": "image", "source": .object(["type": "base64", "media_type": "image/png", "data": .string(image)]),
    ])
    let requests: [(String, JSONObject)] = [
      ("/v1/chat/completions", ["messages": messages(part, "parts")]),
      ("/v1/embeddings", ["messages": messages(part, "parts")]),
      ("/v1/responses", ["input": messages(part, "parts")]),
      ("/v1/messages", ["messages": messages(block, "parts"), "max_tokens": .integer(1)]),
      ("/v1/messages/count_tokens", ["messages": messages(block, "parts")]),
      ("/api/chat", ["messages": messages(.string(image), "images")]),
      (
        "/api/v1/chat",
        [
          "input": .array(
            [JSON](repeating: .object(["type": "image", "data_url": .string("data:;base64," + image)]), count: 80))
        ]
      ),
    ]
    for (path, members) in requests {
      var object = members
      object.set("model", to: "limn-demo")
      let reply = try await tester.post(path, .object(object))
      #expect(reply.status == 400, "\(path)")
      #expect(reply.body.contains("pictures"), "\(path): \(reply.body)")
    }
  }

  @Test("null members and unknown ones are ignored, and a form's content type is read as JSON")
  func nulls() async throws {
    let body = """
      {"model": "limn-demo", "messages": [{"role": "user", "content": "What is there?"}], "stop": null, "seed": null,
       "tools": null, "response_format": null, "max_tokens": 2, "stream_options": null, "something_new": {"a": 1}}
      """
    let reply = try await ServerTester().send(
      .post, "/v1/chat/completions", [.contentType: "application/x-www-form-urlencoded"], "localhost", body)
    #expect(reply.status == 200)
    #expect(try reply.json["usage"]?["completion_tokens"]?.int == 2)
  }

  @Test("an unknown model, path or method is an error in the words of the path's API")
  func errorForms() async throws {
    let tester = try ServerTester()
    let body: JSON = .object([
      "model": "none", "max_tokens": .integer(1), "messages": .array([.object(["role": "user", "content": "x"])]),
      "input": "x",
    ])
    let openAI = try await tester.post("/v1/chat/completions", body)
    #expect(openAI.status == 404)
    #expect(try openAI.json["error"]?["code"]?.string == "model_not_found")
    #expect(try Set(openAI.json["error"]?.object?.keys ?? []) == ["message", "type", "param", "code"])
    #expect(try await tester.post("/api/chat", body).json["error"]?.string?.contains("none") == true)
    let anthropic = try await tester.post("/v1/messages", body).json
    #expect(anthropic["type"]?.string == "error")
    #expect(anthropic["error"]?["type"]?.string == "not_found_error")
    #expect(try await tester.post("/api/v1/chat", body).json["error"]?["type"]?.string == "model_not_found")

    #expect(try await tester.get("/nothing").status == 404)
    let wrong = try await tester.get("/v1/chat/completions")
    #expect(wrong.status == 405)
    #expect(wrong.headers[.allow] == "POST")
  }

  @Test("bounds that Anthropic's client moves into a description are put back, and only those")
  func restoredBounds() throws {
    func restored(_ text: String) throws -> JSON { AnthropicSchema.restored(try JSON.parse(text, place: "a schema")) }
    let trees = try restored(#"{"type": "integer", "description": "How many\n\n{minimum: 0, maximum: 4}"}"#)
    #expect(trees["minimum"]?.int == 0 && trees["maximum"]?.int == 4)
    let name = try restored(
      #"{"properties": {"a": {"type": "string", "description": "{pattern: ^[a-z]{1, 3}$, minLength: 2}"}}}"#)
    #expect(name["properties"]?["a"]?["pattern"]?.string == "^[a-z]{1, 3}$")
    #expect(name["properties"]?["a"]?["minLength"]?.int == 2)
    let kept = try restored(
      #"{"minimum": 3, "description": "{minimum: 5}", "enum": [{"description": "{minimum: 1}"}]}"#)
    #expect(kept["minimum"]?.int == 3)
    #expect(kept["enum"]?.array?.first?.object?.count == 1)
  }

  @Test(
    "keep_alive is read as Ollama reads it",
    arguments: [
      ("0", KeepAlive.seconds(0)), ("300", .seconds(300)), ("\"5m\"", .seconds(300)), ("\"1h30m\"", .seconds(5400)),
      ("-1", .forever), ("\"-1s\"", .forever), ("\"500ms\"", .seconds(0.5)),
    ])
  func keepAlive(text: String, expected: KeepAlive) throws {
    let fields = try RequestFields(try JSON.parse(#"{"keep_alive": \#(text)}"#, place: "a request"))
    #expect(try Ollama.keepAlive(fields) == expected)
  }

  @Test("texts become tokens whose pieces join to the text, and back")
  func tokens() async throws {
    let tester = try ServerTester()
    for text in ["What is there?", " two  spaces", "晴朗 🌧", ""] {
      let reply = try await tester.post("/tokenize", .object(["content": .string(text), "with_pieces": .bool(true)]))
      let pieces = try reply.json["tokens"]?.array ?? []
      let bytes = pieces.flatMap { piece -> [UInt8] in
        piece["piece"]?.string.map { Array($0.utf8) } ?? piece["piece"]?.array?.compactMap { $0.int.map(UInt8.init) }
          ?? []
      }
      #expect(String(decoding: bytes, as: UTF8.self) == text)
      let ids = JSON.array(pieces.compactMap { $0["id"] })
      #expect(try await tester.post("/detokenize", .object(["tokens": ids])).json["content"]?.string == text)
    }
  }
}
