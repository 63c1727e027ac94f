import Foundation
import HTTPTypes
import Limn
import LimnCore

/// LM Studio's REST API, version 1.
enum LMStudio {
  static func error(_ refusal: Refusal) -> JSON {
    let type =
      switch refusal.kind {
      case .notFound: refusal.code == "model_not_found" ? "model_not_found" : "invalid_request"
      case .notImplemented: "not_implemented"
      case .defect, .unavailable, .timeout: "internal_error"
      default: "invalid_request"
      }
    var error: JSONObject = ["type": .string(type), "message": .string(refusal.message)]
    if let code = refusal.code { error.set("code", to: .string(code)) }
    if let param = refusal.param { error.set("param", to: .string(param)) }
    return .object(["error": .object(error)])
  }

  /// A refusal as the sockets write it.
  static func socketError(_ refusal: Refusal) -> JSON {
    var error: JSONObject = ["title": .string(refusal.message), "rootTitle": .string(refusal.message)]
    if refusal.code == "model_not_found" {
      // Clients tell this one apart, by a code that has its data beside it.
      error.set(
        "displayData",
        to: .object([
          "code": "generic.noModelMatchingQuery", "query": .object([:]), "loadedModelsSample": .array([]),
          "totalLoadedModels": .integer(0),
        ]))
    }
    return .object(error)
  }

  static func add(to routes: Routes, _ server: Services) {
    routes.get("/api/v1/models", .lmStudioModels) { _, _ in
      let open = await server.pool.open
      let models = server.pool.models.map { model in described(model, open.filter { $0.id == model.id }) }
      return .json(.object(["models": .array(models)]))
    }
    routes.post("/api/v1/models/load", .lmStudioLoad) { fields, _ in
      let start = ContinuousClock.now
      let model = try server.pool.check(try fields.required("model"))
      let context = try await server.pool.use(model.id) { $0.model.context }
      var object: JSONObject = [
        "type": "llm", "instance_id": .string(model.id),
        "load_time_seconds": .number(ContinuousClock.now.secondsSince(start)), "status": "loaded",
      ]
      if try fields.bool("echo_load_config") ?? false {
        object.set("load_config", to: config(context, server.options.parallel))
      }
      return .json(.object(object))
    }
    routes.post("/api/v1/models/unload", .lmStudioUnload) { fields, _ in
      let id = try fields.required("instance_id")
      try await server.pool.unload(id)
      return .json(.object(["instance_id": .string(id)]))
    }
    routes.refuse(.post, "/api/v1/models/download", "Fetch a model.", because: "this server does not fetch models")
    LMStudioChat.add(to: routes, server)
    LMStudioSocket.add(to: routes, server)
  }

  private static func config(_ context: Int, _ parallel: Int) -> JSON {
    .object(["context_length": .integer(context), "parallel": .integer(parallel)])
  }

  private static func described(_ model: ServedModel, _ open: [ModelPool.Loaded]) -> JSON {
    let bits = model.summary.flatMap { summary -> Double? in
      let count = summary.parameters.total
      return count > 0 ? (Double(model.fileBytes * 8) / Double(count) * 10).rounded() / 10 : nil
    }
    return .object([
      "type": "llm", "publisher": "local", "key": .string(model.id), "display_name": .string(model.id),
      "architecture": .string(model.architecture),
      "quantization": .object(["name": .string(model.quantization), "bits_per_weight": bits.map(JSON.number) ?? .null]),
      "size_bytes": .integer(model.fileBytes), "params_string": .string(model.parameterSize),
      "loaded_instances": .array(
        open.map { .object(["id": .string($0.id), "config": .object(["context_length": .integer($0.model.context)])]) }),
      "max_context_length": .integer(model.summary?.context?.trained ?? 0),
      "format": model.isGGUF ? "gguf" : .null,
      "capabilities": .object(["vision": .bool(model.hasVision), "trained_for_tool_use": .bool(false)]),
      "description": .null,
    ])
  }
}
