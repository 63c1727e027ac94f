import Foundation
import Limn
import LimnCore

/// What the calls of a socket are answered, and how models are loaded on its channels.
struct LMStudioCalls: Sendable {
  let namespace: LMStudioSocket.Namespace
  let server: Services

  func nothing(at endpoint: String) -> Refusal {
    Refusal(
      .notImplemented, "this server has no \(LimnError.printable(endpoint)) in \(namespace.rawValue)",
      code: "not_implemented")
  }

  /// - Returns: nil for a call that has no result.
  func answer(_ endpoint: String, _ parameter: RequestFields, _ caller: Caller) async throws(Refusal) -> JSON? {
    switch (namespace, endpoint) {
    case (.system, "listDownloadedModels"): return .array(server.pool.models.map { .object(LMStudio.info($0)) })
    case (.system, "version"): return .object(["version": .string(server.options.version), "build": .integer(0)])
    case (.files, "uploadFileBase64"): return try upload(parameter)
    // The models are language models, which embed as well.
    case (.embedding, "listLoaded"): return .array([])
    case (.embedding, "embedString"): return try await embed(parameter, caller)
    case (.llm, "applyPromptTemplate"): return try await prompt(parameter)
    case (.llm, _), (.embedding, _): return try await answer(aboutModel: endpoint, parameter)
    default: throw nothing(at: endpoint)
    }
  }

  private func answer(aboutModel endpoint: String, _ parameter: RequestFields) async throws(Refusal) -> JSON? {
    switch endpoint {
    case "listLoaded":
      return .array(
        await server.pool.open.compactMap { open -> JSON? in
          server.pool.model(open.id).map { .object(LMStudio.instance($0, open.model.context, "llm")) }
        })
    case "getModelInfo":
      let found: ServedModel
      do throws(Refusal) {
        found = try model(parameter, "specifier")
      } catch {
        if try parameter.bool("throwIfNotFound") ?? false { throw error }
        return .null
      }
      return .object(LMStudio.instance(found, await context(of: found), namespace.rawValue))
    case "getLoadConfig":
      return LMStudioConfig.load(context: await context(of: try model(parameter, "specifier")), namespace)
    case "tokenize":
      return .object(["tokens": .array(try await tokens(parameter).map(JSON.integer))])
    case "countTokens": return .object(["tokenCount": .integer(try await tokens(parameter).count)])
    case "unloadModel":
      try await server.pool.unload(try parameter.required("identifier"))
      return nil
    default: throw nothing(at: endpoint)
    }
  }

  // MARK: Models

  /// The model that a specifier means: by its name, or without one the first that is open, or that there is.
  func model(_ parameter: RequestFields, _ name: String) throws(Refusal) -> ServedModel {
    guard let specifier = try parameter.object(name) else { throw parameter.missing(name) }
    switch try specifier.required("type") {
    case "instanceReference": return try server.pool.check(try specifier.required("instanceReference"))
    case "query":
      let query = try specifier.object("query")
      let (identifier, path) = (try query?.string("identifier"), try query?.string("path"))
      if let key = identifier ?? path { return try server.pool.check(key) }
      guard let first = server.pool.models.first else { throw .noSuchModel("") }
      return first
    default: throw specifier.wrong("type", "query or instanceReference")
    }
  }

  private func context(of model: ServedModel) async -> Int {
    await server.pool.open.first { $0.id == model.id }?.model.context ?? model.contextLength
  }

  /// Opens a model, and tells how far that is.
  /// - Returns: its id, and the seed that its predictions shall have.
  func load(
    _ parameter: RequestFields, _ send: @escaping @Sendable (JSONObject) -> Void
  ) async throws(Refusal) -> (String, Int?) {
    let isNew = parameter.value("modelKey") != nil
    let model = try server.pool.check(try parameter.required(isNew ? "modelKey" : "identifier"))
    let ttl = try parameter.int(isNew ? "ttlMs" : "loadTtlMs", in: 1...Int(Int32.max) * 1000)
    let config = try LMStudioConfig(try parameter.object("loadConfigStack"))
    let seed = try RequestFields(.object(["seed": config.value("llm.load.seed") ?? .null]), path: "llm.load")
      .int("seed", in: .min ... .max)
    let isOpen = await server.pool.open.contains { $0.id == model.id }
    if isNew {
      send(["type": "resolved", "info": .object(LMStudio.info(model, type: namespace.rawValue))])
    } else if !isOpen {
      send([
        "type": "startLoading", "identifier": .string(model.id),
        "info": .object(LMStudio.info(model, type: namespace.rawValue)),
      ])
    }
    let keepAlive = ttl.map { KeepAlive.seconds(Double($0) / 1000) }
    let progress = isNew ? "progress" : "loadProgress"
    let report = { @Sendable (fraction: Double) in
      send(["type": .string(progress), "progress": .number(fraction)])
    }
    let context = try await server.pool.use(model.id, keepAlive: keepAlive, opening: report) { $0.model.context }
    let type = isNew ? "success" : isOpen ? "alreadyLoaded" : "loadSuccess"
    send(["type": .string(type), "info": .object(LMStudio.instance(model, context, namespace.rawValue))])
    return (model.id, seed)
  }

  // MARK: Texts and pictures

  private func tokens(_ parameter: RequestFields) async throws(Refusal) -> [Int] {
    let text = try parameter.required("inputString")
    return try await server.pool.use(try model(parameter, "specifier").id) { lease in
      lease.model.tokens(of: text, addSpecial: false).map { $0.id }
    }
  }

  private func prompt(_ parameter: RequestFields) async throws(Refusal) -> JSON {
    guard let history = try parameter.object("history") else { throw parameter.missing("history") }
    let messages = try LMStudioPrediction.messages(history, server.files)
    if let options = try parameter.object("opts") {
      for option in ["omitBosToken", "omitEosToken"] {
        guard try options.bool(option) != true else {
          throw .invalid(options.name(option), "the tokens around a prompt cannot be left out here")
        }
      }
    }
    let text = try await server.pool.use(try model(parameter, "specifier").id) { try $0.model.promptText(of: messages) }
    return .object(["formatted": .string(text)])
  }

  private func embed(_ parameter: RequestFields, _ caller: Caller) async throws(Refusal) -> JSON {
    let requests = try Embeddings.inputs(parameter, "inputString")
    let id = try model(parameter, "modelSpecifier").id
    guard let embedding = try await Embeddings.vectors(of: requests, id, server, caller).first else { return .null }
    return .object(["embedding": Embeddings.numbers(embedding.vector)])
  }

  /// A picture, for later questions. It is decoded when it is asked about.
  private func upload(_ parameter: RequestFields) throws(Refusal) -> JSON {
    _ = try parameter.string("name")
    let name = parameter.name("contentBase64")
    let source = try Pictures.source(inline: try parameter.required("contentBase64"), field: name)
    guard case .data(let bytes, _) = source else { throw .invalid(name, "\(name) must be base64") }
    let id = OpenAI.newID("file_")
    server.files.keep(source, bytes: bytes.count, as: id)
    return .object(["identifier": .string(id), "fileType": "image", "sizeBytes": .integer(bytes.count)])
  }
}

extension LMStudio {
  /// A model as the sockets describe it.
  static func info(_ model: ServedModel, type: String = "llm") -> JSONObject {
    var info: JSONObject = [
      "type": .string(type), "modelKey": .string(model.id), "format": model.isGGUF ? "gguf" : "safetensors",
      "displayName": .string(model.id), "path": .string(model.id), "sizeBytes": .integer(model.fileBytes),
      "paramsString": .string(model.parameterSize), "architecture": .string(model.architecture),
      "maxContextLength": .integer(model.summary?.context?.trained ?? model.contextLength),
    ]
    if type == "llm" {
      info.set("vision", to: .bool(model.hasVision))
      info.set("trainedForToolUse", to: .bool(false))
    }
    return info
  }

  /// The same for one that is open.
  static func instance(_ model: ServedModel, _ context: Int, _ type: String) -> JSONObject {
    var info = info(model, type: type)
    info.set("identifier", to: .string(model.id))
    info.set("instanceReference", to: .string(model.id))
    info.set("contextLength", to: .integer(context))
    return info
  }
}
