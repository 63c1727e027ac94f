import Dispatch
import LimnFiles
package import LimnImage
package import LimnTensor

/// Runs forward passes, one at a time, on a thread of its own: it knows tokens and embeddings, not text.
///
/// A step takes tokens of several sequences, chunks of prompts and single tokens mixed; each sequence has its
/// own cache, and no sequence's result depends on its companions. A single question is a batch of one.
package actor Engine {
  package nonisolated let model: Llava
  private let backend: CPU
  private let scratch = Scratch()
  private let storage: KVType
  /// At most so many rows per step: enough for the matrix products to be efficient, few enough that scratch
  /// memory stays small and a cancelled prompt stops soon.
  private static let rowsPerStep = 512

  private nonisolated let executor = QueueExecutor()
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  package init(_ model: Llava, backend: CPU, storage: KVType) {
    self.model = model
    self.backend = backend
    self.storage = storage
  }

  /// A picture's embeddings.
  /// - Parameter progress: is told how many of how many tiles are done.
  package func encode(
    _ image: ProcessedImage, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) throws(LimnError) -> ImageEmbedding {
    try Self.checkCancellation()
    return try model.encode(image, Step(backend: backend, scratch: scratch)) { done throws(LimnError) in
      progress(done, image.tiles)
      try Self.checkCancellation()
    }
  }

  /// The logits of every position of a prompt: [positions][vocabulary].
  package func logits(of prompt: PromptInputs) throws(LimnError) -> [[Float]] {
    let cache = model.language.makeCache(capacity: prompt.count, storage: storage)
    var result: [[Float]] = []
    while cache.count < prompt.count {
      try Self.checkCancellation()
      let part = prompt.part(from: cache.count, atMost: Self.rowsPerStep)
      step([Chunk(cache: cache, part: part, expectedLength: prompt.count, wants: .all)]) { logits in
        for row in 0..<logits.rows {
          let start = logits.pointer + row * logits.width
          result.append(Array(UnsafeBufferPointer(start: start, count: logits.width)))
        }
      }
    }
    return result
  }

  /// Generates for several sequences together until each of them has ended.
  package func generate(_ jobs: [GenerationJob]) throws(LimnError) {
    var running = jobs.map { RunningJob($0, model.language, storage) }
    defer { for job in running { job.keepCache() } }
    while !running.isEmpty {
      try Self.checkCancellation()
      var budget = Self.rowsPerStep
      var chunks: [Chunk] = []
      var members: [Int] = []
      for (index, job) in running.enumerated() where budget > 0 {
        let chunk = job.nextChunk(atMost: budget)
        budget -= chunk.part.count
        chunks.append(chunk)
        members.append(index)
      }
      step(chunks) { logits in
        var row = 0
        for (member, chunk) in zip(members, chunks) {
          guard chunk.wants == .last else { running[member].advancePrompt(); continue }
          running[member].choose(
            UnsafeMutableBufferPointer(start: logits.pointer + row * logits.width, count: logits.width))
          row += 1
        }
      }
      for job in running where job.isFinished { job.keepCache() }
      running.removeAll(where: \.isFinished)
    }
  }

  // MARK: One step

  /// Which of a chunk's positions need logits.
  private enum Wants { case none, last, all }

  private struct Chunk {
    let cache: KVCache
    let part: PromptInputs
    let expectedLength: Int
    let wants: Wants
  }

  /// One forward pass; `body` reads (and may overwrite) the logits [wanted rows, vocabulary] of the chunks in order.
  private func step(_ chunks: [Chunk], body: (Activations) -> Void) {
    scratch.frame {
      let language = model.language
      let rows = chunks.reduce(0) { $0 + $1.part.count }
      let x = scratch.take(rows: rows, width: language.config.hidden)
      var segments: [Segment] = []
      var wanted: [Int] = []
      var row = 0
      for chunk in chunks {
        let range = row..<row + chunk.part.count
        chunk.part.write(into: x.rows(range), language, backend)
        segments.append(
          Segment(
            cache: chunk.cache, rows: range, position: chunk.cache.count, expectedLength: chunk.expectedLength
          ))
        switch chunk.wants {
        case .none: break
        case .last: wanted.append(range.upperBound - 1)
        case .all: wanted.append(contentsOf: range)
        }
        row = range.upperBound
      }
      let step = Step(backend: backend, scratch: scratch, segments: segments)
      language.forward(x, step)
      for chunk in chunks { chunk.cache.count += chunk.part.count }

      let hidden = scratch.take(rows: wanted.count, width: x.width)
      for (index, row) in wanted.enumerated() {
        (hidden.pointer + index * x.width).update(from: x.pointer + row * x.width, count: x.width)
      }
      let logits = scratch.take(rows: wanted.count, width: language.config.vocabulary)
      if !wanted.isEmpty { language.logits(hidden, into: logits, step) }
      body(logits)
    }
  }

  // MARK: Jobs under way

  private final class RunningJob {
    let job: GenerationJob
    let cache: KVCache
    private var sampler: Sampler
    private var generated: [Int32] = []
    private(set) var isFinished = false

    init(_ job: GenerationJob, _ language: any LanguageModel, _ storage: KVType) {
      self.job = job
      sampler = Sampler(job.sampling, prompt: job.prompt.tokens)
      // Rotary tables that change with the length would not fit the keys that are there.
      if let memory = job.memory, language.config.ropeScaling.isTheSameForAllLengths {
        cache = memory.cache(for: job.prompt, capacity: job.capacity) { capacity in
          language.makeCache(capacity: capacity, storage: storage)
        }
      } else {
        cache = language.makeCache(capacity: job.capacity, storage: storage)
      }
      _ = job.receive(.prompt(done: cache.count, of: job.prompt.count))
    }

    var promptLeft: Int { job.prompt.count - cache.count }

    func nextChunk(atMost limit: Int) -> Chunk {
      guard promptLeft > 0 else {
        let part = PromptInputs(tokens: [generated[generated.count - 1]])
        return Chunk(cache: cache, part: part, expectedLength: cache.count + 1, wants: .last)
      }
      let part = job.prompt.part(from: cache.count, atMost: limit)
      return Chunk(
        cache: cache, part: part, expectedLength: job.prompt.count,
        wants: part.count == promptLeft ? .last : .none)
    }

    func advancePrompt() { _ = job.receive(.prompt(done: cache.count, of: job.prompt.count)) }

    /// Takes the next token from the logits and asks whoever listens whether to go on.
    func choose(_ logits: UnsafeMutableBufferPointer<Float>) {
      if generated.isEmpty { advancePrompt() }
      let token = sampler.next(logits)
      generated.append(token)
      let goesOn = job.receive(.token(token))
      isFinished = !goesOn || generated.count >= job.maxTokens || cache.count >= job.capacity
    }

    func keepCache() { job.memory?.remember(job.prompt, generated: generated, cache) }
  }

  private static func checkCancellation() throws(LimnError) {
    if Task.isCancelled { throw LimnError(.interrupted, "stopped") }
  }
}

/// One sequence to generate.
package struct GenerationJob: Sendable {
  package enum Event: Sendable {
    /// So many positions of the prompt are in the cache.
    case prompt(done: Int, of: Int)
    case token(Int32)
  }

  package let prompt: PromptInputs
  package let sampling: Sampling
  package let maxTokens: Int
  /// Positions of the cache: prompt and answer together.
  package let capacity: Int
  /// Where the keys and values of an earlier turn are found, and these are kept.
  package let memory: ConversationMemory?
  /// Is told what happens; false ends the sequence.
  package let receive: @Sendable (Event) -> Bool

  package init(
    prompt: PromptInputs, sampling: Sampling, maxTokens: Int, capacity: Int,
    memory: ConversationMemory? = nil, receive: @escaping @Sendable (Event) -> Bool
  ) {
    self.prompt = prompt
    self.sampling = sampling
    self.maxTokens = maxTokens
    self.capacity = capacity
    self.memory = memory
    self.receive = receive
  }
}

/// Runs an actor's work on a dispatch queue, so that a forward pass never blocks a thread of Swift's own pool.
private final class QueueExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "limn.engine", qos: .userInitiated)

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }
}
