import CLimnSystem
import Foundation
import Hummingbird
import Limn
import LimnCore

/// Endpoints for those who run the server, by llama.cpp's names.
enum Operations {
  static func add(to routes: Routes, _ server: Services) {
    for path in ["/health", "/v1/health"] {
      routes.get(path, .health) { _, _ in .json(.object(["status": "ok"])) }
    }
    routes.get("/ready", .ready) { _, _ in
      // Models are opened at their first use; ready means that one is open, or could be.
      if let name = await server.pool.openingAlone {
        throw Refusal(.unavailable, "the model \(name) is being opened", code: "loading")
      }
      guard let model = server.pool.models.first, server.pool.models.allSatisfy({ $0.problem != nil }) else {
        return .json(.object(["status": "ok"]))
      }
      let reason = model.problem?.description(for: .json).replacing(model.reference, with: model.id) ?? ""
      throw Refusal(.unavailable, "no model opens; \(reason)", code: "model_unreadable")
    }
    routes.get("/props", .props) { _, _ in
      let model = server.pool.models.first
      return .json(
        .object([
          "default_generation_settings": .object(["n_ctx": .integer(model?.contextLength ?? 0)]),
          "total_slots": .integer(server.options.parallel), "model_path": .string(model?.id ?? ""),
          "chat_template": .string(model?.template ?? ""),
          "modalities": .object(["vision": .bool(model?.hasVision ?? false), "audio": .bool(false)]),
          "build_info": .string("limn \(server.options.version)"),
        ]))
    }
    routes.get("/slots", .slots) { _, _ in
      let running = await server.answers.queue.runningCount
      let slots = (0..<server.options.parallel).map { index -> JSON in
        .object([
          "id": .integer(index), "n_ctx": .integer(server.pool.models.first?.contextLength ?? 0),
          "is_processing": .bool(index < running),
        ])
      }
      return .json(.array(slots))
    }
    routes.get("/metrics", .text("Numbers for Prometheus.")) { _, _ in
      let queue = server.answers.queue
      let open = await server.pool.open
      var (steps, sequences) = (0, 0)
      for loaded in open {
        let statistics = await loaded.model.engine.statistics
        (steps, sequences) = (steps + statistics.decodeSteps, sequences + statistics.decodedSequences)
      }
      return .text(
        server.metrics.text(
          running: await queue.runningCount, waiting: await queue.waitingCount,
          models: open.count, steps: steps, sequences: sequences, memory: Int(limn_peak_memory())),
        type: "text/plain; version=0.0.4; charset=utf-8")
    }
    addText(to: routes, server)
  }

  private static func addText(to routes: Routes, _ server: Services) {
    routes.post("/tokenize", .tokenize) { fields, _ in
      guard let text = try fields.string("content") else { throw fields.missing("content") }
      let addsSpecial = try fields.bool("add_special") ?? false
      let showsPieces = try fields.bool("with_pieces") ?? false
      let pieces = try await server.pool.use(try name(fields, server)) { lease in
        lease.model.tokens(of: text, addSpecial: addsSpecial)
      }
      let tokens = pieces.map { piece -> JSON in
        guard showsPieces else { return .integer(piece.id) }
        let text = String(validating: piece.bytes, as: UTF8.self).map(JSON.string)
        return .object([
          "id": .integer(piece.id), "piece": text ?? .array(piece.bytes.map { .integer(Int($0)) }),
        ])
      }
      return .json(.object(["tokens": .array(tokens)]))
    }
    routes.post("/detokenize", .detokenize) { fields, _ in
      guard let values = fields.value("tokens")?.array else { throw fields.wrong("tokens", "a list of token ids") }
      let ids = values.compactMap(\.int)
      guard ids.count == values.count, ids.allSatisfy({ $0 >= 0 }) else {
        throw fields.wrong("tokens", "a list of token ids")
      }
      let text = try await server.pool.use(try name(fields, server)) { try $0.model.text(of: ids) }
      return .json(.object(["content": .string(text)]))
    }
    routes.post("/apply-template", .applyTemplate) { fields, _ in
      let messages = try await OpenAI.messages(fields, server.pictures)
      let prompt = try await server.pool.use(try name(fields, server)) { try $0.model.promptText(of: messages) }
      return .json(.object(["prompt": .string(prompt)]))
    }
  }

  /// These endpoints may leave the model out.
  private static func name(_ fields: RequestFields, _ server: Services) throws(Refusal) -> String {
    if let name = try fields.string("model") { return name }
    guard let first = server.pool.models.first else { throw .noSuchModel("") }
    return first.id
  }
}
