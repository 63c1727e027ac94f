package import Foundation
package import Limn
package import LimnCore

/// The models that clients can name: opened at their first use, closed when they are not used or when another one needs
/// their memory.
package actor ModelPool {
  /// An open model that is not closed while somebody holds this.
  package struct Lease: Sendable {
    package let id: String
    package let model: VisionLanguageModel
    /// Seconds that opening it took for this lease; 0: it was open.
    let loadingSeconds: Double
  }

  package struct Loaded: Sendable {
    package let id: String
    package let model: VisionLanguageModel
    let bytes: Int
    var users = 0
    var lastUse = ContinuousClock.now
    /// When it is closed unless it is used again; nil: never.
    package var expires: Date?
    var keepAlive: KeepAlive?
  }

  package nonisolated let models: [ServedModel]
  private let options: ServerOptions
  private var loaded: [String: Loaded] = [:]
  private var opening: [String: Task<VisionLanguageModel, any Error>] = [:]
  private let memory: Int

  package init(_ options: ServerOptions) throws(LimnError) {
    var load = options.load
    load.maxSequences = options.parallel
    self.options = options
    let references = options.models.isEmpty ? [try DemoModel.path()] : options.models
    models = ServedModel.all(references, options: load)
    memory = options.memory ?? (Machine.memory == 0 ? .max : Machine.memory / 5 * 4)
  }

  private var loadOptions: LoadOptions {
    var load = options.load
    load.maxSequences = options.parallel
    return load
  }

  /// The model that a client names; `:latest` is what Ollama's clients add.
  nonisolated func model(_ name: String) -> ServedModel? {
    models.first { $0.id == name }
      ?? (name.hasSuffix(":latest") ? models.first { $0.id == name.dropLast(7) } : nil)
  }

  @discardableResult
  nonisolated func check(_ name: String) throws(Refusal) -> ServedModel {
    guard let model = model(name) else { throw .noSuchModel(name) }
    return model
  }

  /// A model that is being opened while none is open yet.
  var openingAlone: String? { loaded.isEmpty ? opening.keys.first : nil }

  package var open: [Loaded] { loaded.values.sorted { $0.id < $1.id } }

  // MARK: Using

  /// Opens a model unless it is open, and keeps it open while `body` runs.
  /// - Parameter opening: called with how far it is, 0 to 1, if this call is what opens it.
  package func use<Result: Sendable>(
    _ name: String, keepAlive: KeepAlive? = nil, opening: @escaping @Sendable (Double) -> Void = { _ in },
    _ body: @Sendable (Lease) async throws -> Result
  ) async throws(Refusal) -> Result {
    let id = try check(name).id
    let start = ContinuousClock.now
    let wasOpen = loaded[id] != nil
    let model = try await opened(id, opening)
    loaded[id]?.users += 1
    defer {
      // It may have been closed meanwhile, and opened again for others.
      if loaded[id]?.model === model {
        loaded[id]?.users -= 1
        rest(id, keepAlive)
      }
    }
    let lease = Lease(
      id: id, model: model, loadingSeconds: wasOpen ? 0 : ContinuousClock.now.secondsSince(start))
    do {
      return try await body(lease)
    } catch {
      throw Refusal(error)
    }
  }

  private func opened(
    _ id: String, _ report: @escaping @Sendable (Double) -> Void
  ) async throws(Refusal) -> VisionLanguageModel {
    if let open = loaded[id] {
      loaded[id]?.lastUse = .now
      return open.model
    }
    let task = opening[id] ?? begin(id, report)
    opening[id] = task
    do {
      let model = try await task.value
      opening[id] = nil
      if loaded[id] == nil {
        loaded[id] = Loaded(id: id, model: model, bytes: models.first { $0.id == id }?.memoryBytes ?? 0)
        rest(id, nil)
      }
      return model
    } catch {
      opening[id] = nil
      // Where the model lies on this machine is nobody else's business.
      var refusal = Refusal(error)
      if let reference = models.first(where: { $0.id == id })?.reference {
        refusal.message = refusal.message.replacing(reference, with: id)
      }
      throw refusal
    }
  }

  private func begin(
    _ id: String, _ report: @escaping @Sendable (Double) -> Void
  ) -> Task<VisionLanguageModel, any Error> {
    let served = models.first { $0.id == id }
    makeRoom(for: served?.memoryBytes ?? 0)
    let (reference, load) = (served?.reference ?? id, loadOptions)
    return Task {
      try await VisionLanguageModel.load(reference, options: load) { progress in
        // The other steps take no time to speak of.
        report(progress.step == .weights ? progress.fraction : 0)
      }
    }
  }

  /// Closes idle models, the least recently used first, until a new one fits.
  private func makeRoom(for bytes: Int) {
    let bytes = opening.keys.reduce(bytes) { total, id in total + (models.first { $0.id == id }?.memoryBytes ?? 0) }
    let idle = loaded.values.filter { $0.users == 0 }.sorted { $0.lastUse < $1.lastUse }
    for model in idle {
      guard loaded.values.reduce(bytes, { $0 + $1.bytes }) > memory else { return }
      loaded[model.id] = nil
    }
  }

  // MARK: Closing

  /// Closes a model; false if it was not open. Answers under way keep it in memory until they are finished.
  @discardableResult
  package func unload(_ name: String) throws(Refusal) -> Bool {
    loaded.removeValue(forKey: try check(name).id) != nil
  }

  /// Decides when an open model is closed.
  private func rest(_ id: String, _ keepAlive: KeepAlive?) {
    guard loaded[id] != nil else { return }
    if let keepAlive { loaded[id]?.keepAlive = keepAlive }
    loaded[id]?.lastUse = .now
    switch loaded[id]?.keepAlive {
    case .forever: loaded[id]?.expires = nil
    case .seconds(let seconds): loaded[id]?.expires = Date(timeIntervalSinceNow: seconds)
    case nil: loaded[id]?.expires = options.ttl.map { Date(timeIntervalSinceNow: $0) }
    }
    if let expires = loaded[id]?.expires, expires <= Date(), loaded[id]?.users == 0 { loaded[id] = nil }
  }

  /// Closes what has not been used for its time. Call it now and then.
  func sweep() {
    let now = Date()
    for model in loaded.values where model.users == 0 {
      if let expires = model.expires, expires <= now { loaded[model.id] = nil }
    }
  }
}
