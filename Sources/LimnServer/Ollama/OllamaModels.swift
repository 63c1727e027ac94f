import Foundation
import Limn
import LimnCore

/// `/api/tags`, `/api/show`, `/api/ps` and `/api/version`.
enum OllamaModels {
  static func add(to routes: Routes, _ server: Services) {
    routes.get("/api/version", .ollamaVersion) { _, _ in
      .json(.object(["version": .string(server.options.version)]))
    }
    routes.get("/api/tags", .ollamaTags) { _, _ in
      .json(.object(["models": .array(server.pool.models.map { .object(listed($0)) })]))
    }
    routes.get("/api/ps", .ollamaOpenModels) { _, _ in
      let open = await server.pool.open
      let models = open.compactMap { loaded -> JSON? in
        guard let model = server.pool.model(loaded.id) else { return nil }
        var object = listed(model)
        // For one that is never closed, a time that clients can parse and that does not come.
        object.set("expires_at", to: Ollama.time(loaded.expires ?? Date(timeIntervalSinceNow: 100 * 365 * 86400)))
        object.set("size", to: .integer(loaded.bytes))
        object.set("size_vram", to: .integer(0))
        object.set("context_length", to: .integer(loaded.model.context))
        return .object(object)
      }
      return .json(.object(["models": .array(models)]))
    }
    routes.post("/api/show", .ollamaShow) { fields, _ in
      // The older name is `name`.
      let (new, old) = (try fields.string("model"), try fields.string("name"))
      guard let name = new ?? old else { throw fields.missing("model") }
      return .json(.object(shown(try server.pool.check(name))))
    }
  }

  private static func listed(_ model: ServedModel) -> JSONObject {
    [
      "name": Ollama.name(model.id), "model": Ollama.name(model.id), "modified_at": Ollama.time(model.modified),
      "size": .integer(model.fileBytes), "digest": .string(model.digest), "details": details(model),
    ]
  }

  private static func details(_ model: ServedModel) -> JSON {
    .object([
      "parent_model": "", "format": .string(model.isGGUF ? "gguf" : "safetensors"),
      "family": .string(model.architecture),
      "families": .array([.string(model.architecture)] + (model.hasVision ? ["clip"] : [])),
      "parameter_size": .string(model.parameterSize), "quantization_level": .string(model.quantization),
    ])
  }

  private static func shown(_ model: ServedModel) -> JSONObject {
    let language = model.summary?.language
    let prefix = model.architecture
    var info: JSONObject = [
      "general.architecture": .string(prefix),
      "general.parameter_count": .integer(model.summary?.parameters.total ?? 0),
      "\(prefix).context_length": .integer(model.summary?.context?.trained ?? 0),
    ]
    if let language {
      info.set("\(prefix).embedding_length", to: .integer(language.hidden))
      info.set("\(prefix).block_count", to: .integer(language.layers))
      info.set("\(prefix).attention.head_count", to: .integer(language.heads))
      info.set("\(prefix).attention.head_count_kv", to: .integer(language.kvHeads))
    }
    let stops = model.summary?.stopTexts ?? []
    return [
      "license": "", "modelfile": .string("# \(model.id), served by limn"),
      "parameters": .string(stops.map { "stop \(JSON.string($0).serialised())" }.joined(separator: "\n")),
      "template": .string(model.template), "details": details(model), "model_info": .object(info),
      "capabilities": .array(["completion"] + (model.hasVision ? ["vision"] : [])),
      "modified_at": Ollama.time(model.modified),
    ]
  }
}

/// `POST /api/embed` and the older `/api/embeddings`.
enum OllamaEmbeddings {
  static func add(to routes: Routes, _ server: Services) {
    routes.post("/api/embed", .ollamaEmbed) { fields, context in
      let start = ContinuousClock.now
      let model = try fields.required("model")
      let requests = try Embeddings.inputs(fields, "input")
      let embeddings = try await Embeddings.vectors(of: requests, model, server, await context.caller())
      let total = ContinuousClock.now.secondsSince(start) * 1000
      return .json(
        .object([
          "model": .string(model), "embeddings": .array(embeddings.map { Embeddings.numbers($0.vector) }),
          "total_duration": Ollama.nanoseconds(total), "load_duration": .integer(0),
          "prompt_eval_count": .integer(embeddings.reduce(0) { $0 + $1.promptTokens }),
        ]))
    }
    routes.post("/api/embeddings", .ollamaEmbeddings) { fields, context in
      let model = try fields.required("model")
      let requests = try Embeddings.inputs(fields, "prompt")
      let embeddings = try await Embeddings.vectors(of: requests, model, server, await context.caller())
      return .json(.object(["embedding": Embeddings.numbers(embeddings[0].vector)]))
    }
  }
}
