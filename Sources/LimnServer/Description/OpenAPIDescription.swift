import HTTPTypes
import LimnCore

/// `GET /openapi.json`: the server describes itself, in OpenAPI 3.1.
enum OpenAPIDescription {
  static func add(to routes: Routes, _ server: Services) {
    let table = routes.table
    routes.get("/openapi.json", Endpoint("This description.", gives: .object([:]))) { _, _ in
      .json(document(table.entries, server))
    }
  }

  private static func document(_ entries: [Routes.Entry], _ server: Services) -> JSON {
    var paths = JSONObject()
    var schemas: [String: JSON] = [:]
    for entry in entries {
      let name = entry.path.replacing("/**", with: "/{id}")
      var item = paths[name]?.object ?? JSONObject()
      if name != entry.path { item.set("parameters", to: .array([idParameter])) }
      let isPublic = AccessRules.publicPaths.contains(entry.path)
      let method = entry.method.rawValue.lowercased()
      item.set(method, to: entry.endpoint.operation(entry.method, path: name, isPublic: isPublic))
      paths.set(name, to: .object(item))
      for schema in entry.endpoint.schemas { schemas.merge(schema.named) { $1 } }
    }
    // Which names there are depends on the server.
    let names = server.pool.models.flatMap { [$0.id, $0.id + ":latest"] }
    schemas["Model"] = .object(Schema.string(names).described(Schema.modelDescription).json)
    var components = JSONObject()
    for (name, schema) in schemas.sorted(by: { $0.key < $1.key }) { components.set(name, to: schema) }
    var document: JSONObject = [
      "openapi": "3.1.0",
      "info": .object([
        "title": "limn serve", "version": .string(server.options.version),
        "description": "Vision-language models, in the words of OpenAI, Ollama, Anthropic, LM Studio and llama.cpp.",
      ]),
      "paths": .object(paths),
      "components": .object([
        "schemas": .object(components), "responses": APIStyle.errorResponses, "securitySchemes": securitySchemes,
      ]),
    ]
    if !server.options.apiKeys.isEmpty {
      document.set("security", to: .array(["bearer", "header"].map { .object([$0: .array([])]) }))
    }
    return .object(document)
  }

  private static let idParameter = JSON.object([
    "name": "id", "in": "path", "required": .bool(true), "schema": .object(Schema.model.json),
  ])

  private static let securitySchemes = JSON.object([
    "bearer": .object(["type": "http", "scheme": "bearer"]),
    "header": .object(["type": "apiKey", "in": "header", "name": "X-Api-Key"]),
  ])
}

extension Schema {
  static let modelDescription = "A model's name; Ollama's tag may follow."

  /// A model that this server has.
  static let model = string.described(modelDescription).named("Model")
}
