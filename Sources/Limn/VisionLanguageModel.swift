package import LimnFiles
public import LimnImage
public import LimnCore
import LimnTensor
package import LimnText

/// A vision-language model, ready to be asked about pictures.
///
/// ```swift
/// let model = try await VisionLanguageModel.load("path/to/llava")
/// let answer = try await model.ask("What is the weather?", images: [.path("photo.jpg")])
/// print(answer.text)
/// ```
///
/// Weights stay in the mapped files, so a model opens in well under a second. Several tasks may use it at once: their
/// answers are generated together, and each is the same as it would be alone.
public final class VisionLanguageModel: Sendable {
  /// A short name: the last part of the model's path.
  public let name: String
  /// The maximum length of prompt and answer together, in positions.
  public let context: Int
  package let checkpoint: Checkpoint
  package let tokenizer: Tokenizer
  package let conversation: ConversationFormat
  package let processor: ModelImageProcessor
  private let imageOptions: ImageOptions
  package let engine: Engine
  private let endIDs: Set<Int32>
  private let constraints: ConstraintStore
  /// The names of the adapters loaded with the model.
  public let adapters: [String]

  /// Opens a model on a thread of its own. Cancelling the task stops it.
  /// - Parameters:
  ///   - reference: a folder (a model, or an adapter for one), or a `.gguf` file.
  ///   - options: how it is opened.
  ///   - progress: receives the current step and how far it is; not called on the caller's thread.
  public static func load(
    _ reference: String, options: LoadOptions = LoadOptions(),
    progress: @escaping @Sendable (OpeningProgress) -> Void = { _ in }
  ) async throws(LimnError) -> VisionLanguageModel {
    try await OpeningWatch.run(report: progress) { watch throws(LimnError) in
      try VisionLanguageModel(try ModelParts(options.location(of: reference), options, watch: watch), options)
    }
  }

  private init(_ parts: ModelParts, _ options: LoadOptions) throws(LimnError) {
    checkpoint = try parts.require(parts.checkpoint)
    name = parts.name
    adapters = options.adapters.map { $0.split(separator: "/").last.map(String.init) ?? $0 }
    context = try parts.require(parts.context)
    tokenizer = try parts.require(parts.tokenizer)
    constraints = ConstraintStore(tokenizer)
    conversation = try parts.require(parts.conversation)
    processor = try parts.require(parts.processor)
    imageOptions = options.images
    var limits = Engine.Limits()
    limits.maxSequences = options.maxSequences
    limits.maxWaiting = options.maxWaiting
    limits.cacheBytes = max(0, options.cacheBytes ?? Machine.usualCacheBytes)
    limits.scheduler = options.scheduler
    engine = Engine(
      try parts.require(parts.model), storage: options.storage, context: context, limits: limits)
    endIDs = Set(
      tokenizer.endOfGenerationIDs.union(checkpoint.endOfGenerationIDs).compactMap(Int32.init(exactly:)))
  }

  // MARK: Asking

  /// Answers one question.
  /// - Parameters:
  ///   - question: what the user asks.
  ///   - images: placed before the question, or at its `<image>` marks: see ``ChatMessage/init(_:_:images:)``.
  ///   - system: instructions for the model.
  ///   - options: how the answer is generated.
  public func ask(
    _ question: String, images: [ImageSource] = [], system: String? = nil,
    options: GenerationOptions = GenerationOptions()
  ) async throws(LimnError) -> Answer {
    var messages = [ChatMessage(.user, question, images: images)]
    if let system { messages.insert(ChatMessage(.system, system), at: 0) }
    return try await answer(Request(messages, options: options))
  }

  /// Answers a conversation's last message, piece by piece.
  public func stream(
    _ messages: [ChatMessage], options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<AnswerEvent, any Error> {
    stream(Request(messages, options: options))
  }

  /// Streams an answer; the stream ends with `AnswerEvent.finished`, or throws a `LimnError`.
  public func stream(_ request: Request) -> AsyncThrowingStream<AnswerEvent, any Error> {
    AsyncThrowingStream { continuation in
      let task = Task {
        do {
          let answer = try await self.answer(request) { continuation.yield($0) }
          continuation.yield(.finished(answer))
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { ending in
        if case .cancelled = ending { task.cancel() }
      }
    }
  }

  /// Answers a request; returns the finished answer.
  public func answer(_ request: Request) async throws(LimnError) -> Answer {
    try await answer(request) { _ in }
  }

  package func answer(
    _ request: Request, _ report: @escaping @Sendable (AnswerEvent) -> Void
  ) async throws(LimnError) -> Answer {
    let start = ContinuousClock.now
    let prompt = try self.prompt(request)
    let matcher = try constraints.matcher(for: request.options.format)
    let sources = request.images
    try prompt.check(images: sources.count)
    if let id = request.options.logitBias.keys.first(where: { !(0..<vocabularySize).contains($0) }) {
      throw LimnError(
        .usage, "a bias is for a token that this model does not have", expected: "an id below \(vocabularySize)",
        found: "\(id)")
    }
    let images = try await encode(sources, reuse: request.options.reuse, report)
    var inputs = PromptInputs(prompt, images: images)
    inputs = try fit(inputs, request.options)
    let encoded = ContinuousClock.now

    let room = context - inputs.count
    let maxTokens = min(request.options.maxTokens, room)
    // Within JSON, what ends a turn in words is only a text.
    let ownStops = matcher == nil && !request.options.ignoresEnd ? conversation.stops : []
    var writer = AnswerWriter(tokenizer, stops: request.options.stops, ownStops: ownStops, endIDs: endIDs)
    var sequence = SequenceRequest(prompt: inputs, sampling: request.options.sampling, maxTokens: maxTokens)
    sequence.endIDs = endIDs
    sequence.alternatives = request.options.logprobs.map { max(0, $0) }
    if let bias = LogitBias(request.options, endIDs: endIDs) { sequence.processors.append(bias) }
    if let matcher { sequence.processors.append(Constraint(matcher, endIDs: endIDs)) }
    sequence.reuse = request.options.reuse
    sequence.speculation = request.options.speculation
    sequence.adapters = try indices(of: request.options.adapters)
    if maxTokens > 0 { try await write(sequence, to: &writer, report) }
    let rest = writer.rest()
    if !rest.isEmpty { report(.text(rest)) }
    var answer = writer.answer(prompt: inputs, started: start, encoded: encoded)
    answer.timings.imageEncode = sources.isEmpty ? 0 : (encoded - start).milliseconds
    return answer
  }

  func indices(of names: [String]?) throws(LimnError) -> [Int] {
    try (names ?? adapters).map { name throws(LimnError) in
      if let index = adapters.firstIndex(of: name) { return index }
      throw LimnError(
        .usage, "no such adapter was loaded with the model", expected: adapters.joined(separator: ", "), found: name,
        remedy: "name its folder in LoadOptions.adapters")
    }
  }

  /// Generates a sequence and writes its text; returns once the engine has released it.
  private func write(
    _ request: SequenceRequest, to writer: inout AnswerWriter, _ report: @Sendable (AnswerEvent) -> Void
  ) async throws(LimnError) {
    let sequence = try await engine.generate([request])[0]
    for await event in sequence.events {
      let news = writer.receive(event)
      let logprobs = writer.takeLogprobs()
      if !logprobs.isEmpty { report(.tokens(logprobs)) }
      if let news { report(news) }
      if writer.isStopped { sequence.stop() }
      switch event {
      case .ended(.failed(let error)): throw error
      case .ended(.cancelled) where !writer.isStopped: throw LimnError(.interrupted, "stopped")
      default: break
      }
    }
    if Task.isCancelled { throw LimnError(.interrupted, "stopped") }
  }

  /// Encodes images ahead of questions about them, so that those can begin at once.
  public func prepare(_ images: [ImageSource]) async throws(LimnError) {
    _ = try await encode(images, reuse: true)
  }

  /// Decodes, processes and encodes images.
  /// - Parameter reuse: whether to take embeddings from earlier images and keep them for later.
  package func encode(
    _ sources: [ImageSource], reuse: Bool = false,
    _ report: @escaping @Sendable (AnswerEvent) -> Void = { _ in }
  ) async throws(LimnError) -> [ImageEmbedding] {
    var embeddings: [ImageEmbedding] = []
    for source in sources {
      // The file identifies an image as well as its pixels do, and a known one need not be decoded.
      let bytes = try source.bytes()
      let file = reuse ? bytes.map { ImageKey(file: $0) } : nil
      if let file, let known = await engine.embedding(of: file) {
        embeddings.append(known)
        continue
      }
      let picture = try source.image(decoding: bytes, imageOptions)
      for warning in picture.warnings { report(.warning(warning, image: source.name)) }
      let image = try processor.process(picture)
      embeddings.append(
        try await engine.encode(image, file: file, reuse: reuse) { report(.encoding(done: $0, of: $1)) })
    }
    return embeddings
  }

  private func fit(_ inputs: PromptInputs, _ options: GenerationOptions) throws(LimnError) -> PromptInputs {
    // Leave at least one position for the answer.
    guard inputs.count >= context else { return inputs }
    if options.overflow == .truncateMiddle {
      let room = max(1, min(options.maxTokens, context / 4))
      if let shorter = inputs.truncatingMiddle(to: context - room) { return shorter }
    }
    let pictures = inputs.imageCount > 0 ? ", \(inputs.imageCount) of them for pictures" : ""
    throw .badData(
      code: .contextLengthExceeded, "the prompt does not fit the context",
      expected: "fewer than \(context) tokens", found: "\(inputs.count) tokens\(pictures)",
      remedy: """
        shorten it, raise \(.context) (the model was trained for \(checkpoint.config.language.maxPositions)), \
        or use \(.overflow, "truncate-middle")
        """)
  }
}

extension Duration {
  package var milliseconds: Double {
    Double(components.seconds) * 1e3 + Double(components.attoseconds) * 1e-15
  }
}
