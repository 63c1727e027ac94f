import Foundation
import Limn
import LimnCore

/// `POST /v1/embeddings`, for texts, and for pictures in `messages` as vLLM has it.
enum Embeddings {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/v1/embeddings", .embeddings) { fields, context in
      let model = try fields.required("model")
      let format = try fields.string("encoding_format") ?? "float"
      guard ["float", "base64"].contains(format) else { throw fields.wrong("encoding_format", "float or base64") }
      let requests: [Limn.Request]
      if fields.value("messages") != nil {
        requests = [Limn.Request(try await OpenAI.messages(fields, server.pictures))]
      } else {
        requests = try inputs(fields, "input")
      }
      let embeddings = try await vectors(of: requests, model, server, await context.caller())
      let data = embeddings.enumerated().map { index, embedding -> JSON in
        .object([
          "object": "embedding", "index": .integer(index),
          "embedding": format == "base64" ? base64(embedding.vector) : numbers(embedding.vector),
        ])
      }
      let tokens = embeddings.reduce(0) { $0 + $1.promptTokens }
      return .json(
        .object([
          "object": "list", "data": .array(data), "model": .string(try server.pool.check(model).id),
          "usage": .object(["prompt_tokens": .integer(tokens), "total_tokens": .integer(tokens)]),
        ]))
    }
  }

  /// One text, several, or token ids of one or several.
  static func inputs(_ fields: RequestFields, _ name: String) throws(Refusal) -> [Limn.Request] {
    guard let value = fields.value(name) else { throw fields.missing(name) }
    let wrong = fields.wrong(name, "a text, a list of texts, or token ids")
    func request(_ item: JSON) throws(Refusal) -> Limn.Request {
      var request = Limn.Request([])
      if let text = item.string, !text.isEmpty {
        request.prompt = .raw(text, images: [])
        return request
      }
      let ids = item.array?.compactMap(\.int) ?? []
      guard !ids.isEmpty, ids.count == item.array?.count, ids.allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
        throw wrong
      }
      request.prompt = .tokens(ids)
      return request
    }
    guard let items = value.array, items.first?.int == nil else { return [try request(value)] }
    guard !items.isEmpty, items.count <= 2048 else { throw wrong }
    return try items.map(request)
  }

  /// Takes one place among the answers for all of them.
  static func vectors(
    of requests: [Limn.Request], _ model: String, _ server: Services, _ caller: Caller
  ) async throws(Refusal) -> [Embedding] {
    try server.pool.check(model)
    for request in requests { try Pictures.check(request) }
    let task = Task { () throws -> [Embedding] in
      try await server.answers.hold(model, for: caller) { model in
        var embeddings: [Embedding] = []
        for request in requests { embeddings.append(try await model.embedding(of: request)) }
        return embeddings
      }
    }
    caller.departure.add { task.cancel() }
    do {
      return try await task.value
    } catch {
      var refusal = Refusal(error)
      if refusal.param == "messages" { refusal.param = "input" }
      throw refusal
    }
  }

  static func numbers(_ vector: [Float]) -> JSON { .array(vector.map { .number(Double($0)) }) }

  /// Little-endian float32.
  private static func base64(_ vector: [Float]) -> JSON {
    var data = Data(capacity: 4 * vector.count)
    for value in vector { withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) } }
    return .string(data.base64EncodedString())
  }
}
