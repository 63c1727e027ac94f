import Foundation
import HTTPTypes
import Limn
import LimnCore
import Testing

import LimnServer

@Suite("LM Studio's sockets")
struct SocketTests {
  private static let specifier: JSON = .object([
    "type": "query", "query": .object(["identifier": .string(Scene.model)]),
  ])

  private static func call(_ id: Int, _ endpoint: String, _ parameter: JSONObject? = nil) -> JSON {
    var object: JSONObject = ["type": "rpcCall", "endpoint": .string(endpoint), "callId": .integer(id)]
    if let parameter { object.set("parameter", to: .object(parameter)) }
    return .object(object)
  }

  private static func channel(_ id: Int, _ endpoint: String, _ parameter: JSONObject) -> JSON {
    .object([
      "type": "channelCreate", "endpoint": .string(endpoint), "channelId": .integer(id),
      "creationParameter": .object(parameter),
    ])
  }

  /// A prediction about a picture that was handed in, as the package writes it.
  private static func prediction(_ id: Int, file: String? = nil, _ fields: JSONObject = [:]) -> JSON {
    var content: [JSON] = [.object(["type": "text", "text": .string(Scene.question)])]
    if let file {
      content.append(
        .object([
          "type": "file", "name": "camp.png", "identifier": .string(file), "sizeBytes": .integer(1),
          "fileType": "image",
        ]))
    }
    let message: JSON = .object(["role": "user", "content": .array(content)])
    let list = fields.members.map { field in
      JSON.object(["key": .string("llm.prediction." + field.key), "value": field.value])
    }
    let layer: JSON = .object([
      "layerName": "apiOverride", "config": .object(["fields": .array(list)]),
    ])
    return channel(
      id, "predict",
      [
        "modelSpecifier": specifier, "history": .object(["messages": .array([message])]),
        "predictionConfigStack": .object(["layers": .array([layer])]),
      ])
  }

  private static func upload(to tester: ServerTester) async throws -> String {
    let replies = try await tester.socket(
      "/files", [call(1, "uploadFileBase64", ["name": "camp.png", "contentBase64": .string(try Scene.base64)])])
    let result = try #require(replies.first?["result"])
    #expect(result["fileType"] == "image")
    #expect(result["sizeBytes"]?.int == (try Scene.picture.count))
    return try #require(result["identifier"]?.string)
  }

  /// What a channel was sent, by type.
  private static func sent(_ replies: [JSON], _ type: String) -> [JSON] {
    replies.compactMap { $0["message"] }.filter { $0["type"]?.string == type }
  }

  @Test("a socket is agreed to as RFC 6455 has it, and only to those who may use the server")
  func handshake() async throws {
    let tester = try ServerTester()
    // The example of RFC 6455, section 1.3.
    let agreed = try await tester.open("/llm", headers: [.secWebSocketKey: "dGhlIHNhbXBsZSBub25jZQ=="])
    #expect(agreed.status == 101)
    #expect(agreed.headers[.secWebSocketAccept] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    #expect(try await tester.get("/llm").status == 426)
    #expect(try await tester.open("/llm", headers: [.secWebSocketVersion: "8"]).status == 426)
    #expect(try await tester.open("/llm", headers: [.secWebSocketKey: "short"]).status == 400)
    #expect(try await tester.open("/nowhere").status == 404)
    #expect(try await tester.open("/llm", headers: [.origin: "https://evil.example"]).status == 403)
    #expect(try await tester.open("/llm", host: "evil.example").status == 403)
  }

  @Test("the greeting is answered where the sockets are, which is not where keys are needed")
  func greeting() async throws {
    #expect(try await ServerTester().get("/lmstudio-greeting").json["lmstudio"]?.bool == true)
    let tester = try ServerTester { $0.apiKeys = ["k"] }
    let headers: HTTPFields = [.authorization: "Bearer k"]
    #expect(try await tester.get("/lmstudio-greeting", headers: headers).status == 404)
    #expect(try await tester.open("/llm", headers: headers).status == 404)
  }

  @Test("a client that does not introduce itself is refused, and nothing else it says is answered")
  func introduction() async throws {
    let replies = try await ServerTester().socket("/llm", greets: false, [Self.call(1, "listLoaded")])
    #expect(replies.count == 1)
    #expect(replies.first?["success"]?.bool == false)
    #expect(replies.first?["error"]?["title"]?.string != nil)
  }

  @Test("a prediction about a picture is what the library answers, with its counts")
  func prediction() async throws {
    let tester = try ServerTester()
    let expected = try await Scene.answer()
    let replies = try await tester.socket(
      "/llm", [Self.prediction(3, file: try await Self.upload(to: tester), ["temperature": .integer(0)])])
    let text = Self.sent(replies, "fragment").compactMap { $0["fragment"]?["content"]?.string }.joined()
    #expect(text == expected.text.trimmingCharacters(in: .whitespaces))
    let success = try #require(Self.sent(replies, "success").first)
    #expect(success["stats"]?["stopReason"] == "eosFound")
    #expect(success["stats"]?["promptTokensCount"]?.int == expected.usage.promptTokens)
    #expect(success["stats"]?["predictedTokensCount"]?.int == expected.usage.completionTokens)
    #expect(success["modelInfo"]?["vision"]?.bool == true)
    #expect(Self.sent(replies, "promptProcessingProgress").last?["progress"]?.double == 1)
    #expect(replies.last == .object(["type": "channelClose", "channelId": .integer(3)]))
  }

  @Test("settings limit, stop and shape a prediction; those that cannot be kept are errors")
  func settings() async throws {
    let tester = try ServerTester()
    let file = try await Self.upload(to: tester)
    func predict(_ fields: JSONObject) async throws -> (text: String, reason: String?, error: String?) {
      let replies = try await tester.socket("/llm", [Self.prediction(1, file: file, fields)])
      return (
        Self.sent(replies, "fragment").compactMap { $0["fragment"]?["content"]?.string }.joined(),
        Self.sent(replies, "success").first?["stats"]?["stopReason"]?.string,
        Self.sent(replies, "error").first?["error"]?["title"]?.string
      )
    }
    let whole = try await predict([:]).text
    let limited = try await predict(["maxPredictedTokens": .object(["checked": .bool(true), "value": .integer(2)])])
    #expect(limited.reason == "maxPredictedTokensReached")
    #expect(limited.text.count < whole.count && whole.hasPrefix(limited.text))
    let unlimited = try await predict(["maxPredictedTokens": .object(["checked": .bool(false), "value": .integer(2)])])
    #expect(unlimited.text == whole)

    let stop = String(whole.split(separator: " ")[1])
    let stopped = try await predict(["stopStrings": .array([.string(stop)])])
    #expect(stopped.reason == "stopStringFound")
    #expect(!stopped.text.contains(stop))

    let schema: JSON = .object(["enum": .array(["clouds", "rain"])])
    let shaped = try await predict(["structured": .object(["type": "json", "jsonSchema": schema])])
    #expect(["\"clouds\"", "\"rain\""].contains(shaped.text))

    #expect(try await predict(["structured": .object(["type": "gbnf", "gbnfGrammar": "x"])]).error != nil)
    let hot = try await predict(["temperature": .integer(99)])
    #expect(hot.error?.hasPrefix("llm.prediction.temperature must be") == true)
    #expect(hot.text.isEmpty)
  }

  @Test("a cancelled prediction ends with success, and says who stopped it")
  func cancelling() async throws {
    let cancel: JSON = .object([
      "type": "channelSend", "channelId": .integer(1), "message": .object(["type": "cancel"]),
    ])
    let replies = try await ServerTester().socket("/llm", [Self.prediction(1), cancel])
    #expect(Self.sent(replies, "success").first?["stats"]?["stopReason"] == "userStopped")
    #expect(replies.last?["type"] == "channelClose")
  }

  @Test("a model is loaded, listed and unloaded")
  func loading() async throws {
    let tester = try ServerTester()
    let load = Self.channel(1, "getOrLoad", ["identifier": .string(Scene.model), "loadTtlMs": .integer(3_600_000)])
    let first = try await tester.socket("/llm", [load])
    #expect(Self.sent(first, "startLoading").count == 1)
    let progress = Self.sent(first, "loadProgress").compactMap { $0["progress"]?.double }
    #expect(!progress.isEmpty && progress.allSatisfy { (0...1).contains($0) })
    let info = try #require(Self.sent(first, "loadSuccess").first?["info"])
    #expect(info["identifier"]?.string == Scene.model)

    #expect(Self.sent(try await tester.socket("/llm", [load]), "alreadyLoaded").count == 1)
    #expect(try await tester.socket("/llm", [Self.call(1, "listLoaded")]).first?["result"] == .array([info]))
    let unloaded = try await tester.socket("/llm", [Self.call(1, "unloadModel", ["identifier": .string(Scene.model)])])
    #expect(unloaded.first == .object(["type": "rpcResult", "callId": .integer(1)]))
    #expect(try await tester.socket("/llm", [Self.call(1, "listLoaded")]).first?["result"] == .array([]))
    let downloaded = try await tester.socket("/system", [Self.call(1, "listDownloadedModels")]).first?["result"]
    #expect(downloaded?.array?.map { $0["modelKey"]?.string } == [Scene.model])
  }

  @Test("texts become the tokens and prompts that they are elsewhere")
  func texts() async throws {
    let tester = try ServerTester()
    let text: JSONObject = ["specifier": Self.specifier, "inputString": "a red boat"]
    let expected = try await tester.post("/tokenize", .object(["content": "a red boat"])).json["tokens"]
    let tokens = try await tester.socket("/llm", [Self.call(1, "tokenize", text)]).first?["result"]?["tokens"]
    #expect(tokens == expected)
    let count = try await tester.socket("/llm", [Self.call(1, "countTokens", text)]).first?["result"]?["tokenCount"]
    #expect(count?.int == expected?.array?.count)

    let message: JSON = .object([
      "role": "user", "content": .array([.object(["type": "text", "text": "a red boat"])]),
    ])
    let prompt = try await tester.post(
      "/apply-template", .object(["messages": .array([.object(["role": "user", "content": "a red boat"])])])
    ).json["prompt"]
    let history: JSON = .object(["messages": .array([message])])
    let formatted = try await tester.socket(
      "/llm", [Self.call(1, "applyPromptTemplate", ["specifier": Self.specifier, "history": history])])
    #expect(formatted.first?["result"]?["formatted"] == prompt)
  }

  @Test("what is unknown or malformed is an error in the protocol's form, and the socket goes on")
  func errors() async throws {
    let nobody: JSON = .object(["type": "query", "query": .object(["identifier": "nobody"])])
    let replies = try await ServerTester().socket(
      "/llm",
      [
        Self.call(1, "noSuchCall"), Self.channel(2, "noSuchChannel", [:]),
        .array([]), .object(["type": "noSuchType"]), .object(["type": "rpcCall"]),
        .object(["type": "channelSend", "channelId": .integer(99), "message": .object(["type": "cancel"])]),
        Self.call(3, "getModelInfo", ["specifier": nobody, "throwIfNotFound": .bool(true)]),
        Self.channel(4, "getOrLoad", ["identifier": .integer(7)]),
        Self.prediction(5, file: "file_unknown"),
        Self.call(6, "listLoaded"),
      ])
    func reply(_ key: String, _ id: Int) -> JSON? { replies.first { $0[key]?.int == id } }
    #expect(reply("callId", 1)?["type"] == "rpcError")
    #expect(reply("channelId", 2)?["type"] == "channelError")
    #expect(replies.filter { $0["type"] == "communicationWarning" }.count == 4)
    #expect(reply("callId", 3)?["error"]?["displayData"]?["code"] == "generic.noModelMatchingQuery")
    #expect(reply("channelId", 4)?["error"]?["title"]?.string?.contains("identifier") == true)
    #expect(reply("channelId", 5)?["message"]?["error"]?["title"]?.string?.contains("file_unknown") == true)
    #expect(reply("callId", 6)?["result"] == .array([]))
  }

  @Test("one socket can have only so many calls and channels open")
  func limits() async throws {
    let tester = try ServerTester { $0.parallel = 1 }
    let cancels = (1...70).map { id in
      JSON.object(["type": "channelSend", "channelId": .integer(id), "message": .object(["type": "cancel"])])
    }
    let replies = try await tester.socket("/llm", (1...70).map { Self.prediction($0) } + cancels)
    #expect(replies.filter { $0["type"] == "channelError" }.count == 6)
    #expect(replies.filter { $0["type"] == "channelClose" }.count == 64)
  }
}
