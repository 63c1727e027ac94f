import HTTPTypes
import LimnCore

/// What a route takes and answers. No route can be added without it.
struct Endpoint: Sendable {
  var summary: String
  /// The JSON that it takes as its body.
  var takes: Schema?
  /// What it answers, by content types; none where this server refuses to do it.
  var gives: [(type: String, schema: Schema)]
  /// Whether it opens a WebSocket, whose messages OpenAPI cannot describe.
  var opensSocket = false

  /// - Parameter streams: the content type of an answer that comes in pieces.
  init(_ summary: String, takes: Schema? = nil, gives: Schema, streams: String? = nil) {
    self.summary = summary
    self.takes = takes
    self.gives = [("application/json", gives)]
    // OpenAPI 3.1 has no words for the pieces.
    if let streams {
      self.gives.append((Self.plain(streams), .anything.described("The same piece by piece, with `stream`.")))
    }
  }

  /// An endpoint that answers with text.
  static func text(_ summary: String) -> Endpoint {
    var endpoint = Endpoint(summary, gives: .string)
    endpoint.gives = [("text/plain", .string)]
    return endpoint
  }

  static func socket(_ summary: String) -> Endpoint {
    var endpoint = refused(summary)
    endpoint.opensSocket = true
    return endpoint
  }

  /// An endpoint of the API that this server does not have.
  static func refused(_ summary: String) -> Endpoint {
    var endpoint = Endpoint(summary, gives: .anything)
    endpoint.gives = []
    return endpoint
  }

  /// A content type without its parameters.
  private static func plain(_ type: String) -> String { String(type.prefix { $0 != ";" }) }

  var schemas: [Schema] { [takes].compactMap(\.self) + gives.map(\.schema) }

  /// OpenAPI's operation object.
  func operation(_ method: HTTPRequest.Method, path: String, isPublic: Bool) -> JSON {
    let style = APIStyle(path: path)
    var responses = JSONObject()
    if opensSocket {
      responses.set("101", to: .object(["description": "A WebSocket."]))
    } else if gives.isEmpty {
      responses.set("501", to: style.errorReference)
    } else {
      var answer: JSONObject = ["description": "The answer."]
      if method != .head { answer.set("content", to: Self.content(gives)) }
      responses.set("200", to: .object(answer))
    }
    for status in ["4XX", "500", "503"] { responses.set(status, to: style.errorReference) }
    let words = path.split { !$0.isLetter && !$0.isNumber }.map { $0.prefix(1).uppercased() + $0.dropFirst() }
    var operation: JSONObject = [
      "operationId": .string(method.rawValue.lowercased() + words.joined()), "summary": .string(summary),
      "tags": .array([.string(style.name)]),
    ]
    if isPublic { operation.set("security", to: .array([])) }
    if let takes {
      let content = Self.content([("application/json", takes)])
      operation.set("requestBody", to: .object(["required": .bool(true), "content": content]))
    }
    operation.set("responses", to: .object(responses))
    return .object(operation)
  }

  private static func content(_ types: [(type: String, schema: Schema)]) -> JSON {
    var content = JSONObject()
    for (type, schema) in types { content.set(type, to: .object(["schema": .object(schema.json)])) }
    return .object(content)
  }
}

extension APIStyle {
  var name: String {
    switch self {
    case .openAI: "OpenAI and llama.cpp"
    case .ollama: "Ollama"
    case .anthropic: "Anthropic"
    case .lmStudio: "LM Studio"
    }
  }

  private var errorName: String { "\(self)Error" }

  fileprivate var errorReference: JSON {
    .object(["$ref": .string("#/components/responses/\(errorName)")])
  }

  /// The errors of all APIs, as components of a description.
  static var errorResponses: JSON {
    var responses = JSONObject()
    for style in allCases {
      let content = JSON.object(["schema": .object(style.errorSchema.json)])
      responses.set(
        style.errorName,
        to: .object([
          "description": .string("An error, as clients of \(style.name) read it."),
          "content": .object(["application/json": content]),
        ]))
    }
    return .object(responses)
  }

  private var errorSchema: Schema {
    switch self {
    case .openAI: OpenAI.errorSchema
    case .ollama: Ollama.errorSchema
    case .anthropic: Anthropic.errorSchema
    case .lmStudio: LMStudio.errorSchema
    }
  }
}
