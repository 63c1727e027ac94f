import Foundation
import Hummingbird
import Limn
import LimnCore

/// `GET /v1/models`, in one form for the clients of OpenAI and of Anthropic, which both ask there.
enum ModelList {
  static func add(to routes: Routes, _ server: Services) {
    for path in ["/v1/models", "/models"] {
      routes.get(path, .models) { _, _ in
        let models = server.pool.models
        return .json(
          .object([
            "object": "list", "data": .array(models.map(described)), "has_more": .bool(false),
            "first_id": models.first.map { .string($0.id) } ?? .null,
            "last_id": models.last.map { .string($0.id) } ?? .null,
          ]))
      }
    }
    routes.get("/v1/models/**", .model) { request, _ in
      // Names may hold slashes and colons, escaped or not.
      let name = String(request.uri.path.dropFirst("/v1/models/".count))
      return .json(described(try server.pool.check(name.removingPercentEncoding ?? name)))
    }
  }

  private static func described(_ model: ServedModel) -> JSON {
    .object([
      "id": .string(model.id), "object": "model", "created": .integer(Int(model.modified.timeIntervalSince1970)),
      "owned_by": "limn", "type": "model", "display_name": .string(model.id),
      "created_at": .string(model.modified.ISO8601Format()),
      "meta": .object([
        "n_ctx": .integer(model.contextLength), "n_params": .integer(model.summary?.parameters.total ?? 0),
        "size": .integer(model.fileBytes),
      ]),
    ])
  }
}
