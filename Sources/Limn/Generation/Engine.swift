import Dispatch
import LimnFiles
import Synchronization
package import LimnImage
package import LimnCore
package import LimnTensor

/// Runs forward passes, one at a time, on a thread of its own: it knows tokens and embeddings, not text.
///
/// A step takes tokens of all sequences under way, chunks of prompts and single tokens mixed; a new one joins
/// between two steps. Each has its own cache, and no sequence's result depends on its companions. A single
/// question is a batch of one. While sequences answer, a step allocates nothing.
package actor Engine {
  package nonisolated let model: Llava
  private let backend: CPU
  private let scratch = Scratch()
  nonisolated let storage: KVType
  private let context: Int
  private var pictures: ImageCache
  private var prefixes: PrefixCache
  /// The sequences under way, and those that wait for a place among them.
  private var running: [RunningJob] = []
  private var waiting: [(job: GenerationJob, request: Request)] = []
  private let maxSequences: Int
  private var isRunning = false
  /// The step under way; the arrays stay, so that the next one finds their memory.
  private var chunks: [Chunk] = []
  private var segments: [Segment] = []
  /// At most so many rows per step: enough for the matrix products to be efficient, few enough that scratch
  /// memory stays small and a cancelled prompt stops soon.
  private static let rowsPerStep = 1024
  /// At most so many where some sequences read while others answer: those are not to wait long for their next word.
  private static let rowsBesideAnswers = 128

  private nonisolated let executor = QueueExecutor()
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameters:
  ///   - context: the longest sequence.
  ///   - maxSequences: how many are generated at the same time; more wait.
  ///   - cacheBytes: how much memory may be kept for later sequences: an eighth of it for pictures, the rest for
  ///     keys and values.
  package init(
    _ model: Llava, backend: CPU, storage: KVType, context: Int, maxSequences: Int, cacheBytes: Int
  ) {
    self.maxSequences = max(1, maxSequences)
    self.model = model
    self.backend = backend
    self.context = context
    self.storage = storage
    pictures = ImageCache(limit: cacheBytes / 8)
    prefixes = PrefixCache(limit: cacheBytes - cacheBytes / 8)
  }

  /// A picture's embeddings.
  /// - Parameters:
  ///   - file: where the picture comes from.
  ///   - reuse: whether they may be those of earlier, and are kept for later.
  ///   - progress: is told how many of how many tiles are done.
  package func encode(
    _ image: ProcessedImage, file: ImageKey? = nil, reuse: Bool = false,
    progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) throws(LimnError) -> ImageEmbedding {
    try Self.checkCancellation()
    if reuse, let known = pictures.embedding(of: ImageKey(image), file: file) { return known }
    let embedding = try model.encode(image, Step(backend: backend, scratch: scratch)) {
      done throws(LimnError) in
      progress(done, image.tiles)
      try Self.checkCancellation()
    }
    if reuse { pictures.keep(embedding, file: file) }
    return embedding
  }

  /// The embeddings of a picture in a file that was encoded before.
  package func embedding(of file: ImageKey) -> ImageEmbedding? { pictures.embedding(of: file) }

  /// Lets go of all that was kept for later sequences.
  package func forget() {
    pictures.removeAll()
    prefixes.removeAll()
  }

  /// The logits of every position of a prompt: [positions][vocabulary].
  package func logits(of prompt: PromptInputs) throws(LimnError) -> [[Float]] {
    let cache = try model.language.makeCache(capacity: prompt.count, storage: storage)
    var result: [[Float]] = []
    defer { chunks.removeAll(keepingCapacity: true) }
    while cache.count < prompt.count {
      try Self.checkCancellation()
      let part = cache.count..<min(cache.count + Self.rowsPerStep, prompt.count)
      chunks.removeAll(keepingCapacity: true)
      chunks.append(
        Chunk(
          cache: cache, input: .prompt(prompt, part), count: part.count, expectedLength: prompt.count,
          wanted: part.count, job: nil))
      step { logits in
        for row in 0..<logits.rows {
          let start = logits.pointer + row * logits.width
          result.append(Array(UnsafeBufferPointer(start: start, count: logits.width)))
        }
      }
    }
    return result
  }

  // MARK: Generating

  /// Generates sequences, beside others that are under way, until each of them has ended.
  package func generate(_ jobs: [GenerationJob]) async throws(LimnError) {
    try Self.checkCancellation()
    guard !jobs.isEmpty else { return }
    let stop = StopSign()
    let failure = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let request = Request(stop, jobs.count, continuation)
        waiting += jobs.map { ($0, request) }
        if !isRunning {
          isRunning = true
          Task { await run() }
        }
      }
    } onCancel: {
      stop.raise()
    }
    if let failure { throw failure }
  }

  /// Makes steps as long as there are sequences. Whoever waits for the engine, with a picture or another sequence,
  /// has a turn between two of them.
  private func run() async {
    while admit() {
      gather()
      step { logits in
        var row = 0
        for chunk in chunks {
          chunk.job?.take(logits.rows(row..<row + chunk.wanted))
          row += chunk.wanted
        }
      }
      chunks.removeAll(keepingCapacity: true)
      if executor.isAwaited { await Task.yield() }
    }
    isRunning = false
  }

  /// Lets go who has ended or was stopped, and in who has waited; false if nobody is left.
  private func admit() -> Bool {
    for job in running {
      job.obeyStop()
      if job.isOver { finish(job) }
    }
    running.removeAll { $0.isOver }
    // Who does not want to wait any longer does not wait for a place either.
    waiting.removeAll { _, request in
      guard request.stop.isRaised else { return false }
      request.endOne(Self.stopped)
      return true
    }
    while running.count < maxSequences, !waiting.isEmpty {
      let (job, request) = waiting.removeFirst()
      do throws(LimnError) {
        // By now it may be, and a companion that could not start raises it.
        if request.stop.isRaised { throw Self.stopped }
        running.append(try start(job, request))
      } catch {
        request.endOne(error)
      }
    }
    return !running.isEmpty
  }

  /// Fills the next step. Who answers goes before who reads: so the two kinds of tokens lie together.
  private func gather() {
    var rowsLeft = running.contains { !$0.isReading } ? Self.rowsBesideAnswers : Self.rowsPerStep
    for isReading in [false, true] {
      for job in running where job.isReading == isReading && rowsLeft > 0 {
        let chunk = job.nextChunk(atMost: rowsLeft, among: running.count)
        rowsLeft -= chunk.count
        chunks.append(chunk)
      }
    }
  }

  private func start(_ job: GenerationJob, _ request: Request) throws(LimnError) -> RunningJob {
    let language = model.language
    let needed = job.prompt.count + job.maxTokens
    guard positionsAreFixed else {
      return RunningJob(
        job, try language.makeCache(capacity: needed, storage: storage), request, draftCost: nil)
    }
    // Room for the next turns; memory that no position has reached costs nothing.
    let room = job.reuse ? max(needed, min(context, max(4096, 2 * needed))) : needed
    let known = job.reuse ? prefixes.take(for: job.prompt.keys, capacity: needed) : nil
    let cache = if let known { known } else { try language.makeCache(capacity: room, storage: storage) }
    return RunningJob(job, cache, request, draftCost: backend.furtherTokenCost)
  }

  private func finish(_ running: RunningJob) {
    if running.job.reuse, positionsAreFixed, running.failure == nil { prefixes.keep(running.cache, running.keys) }
    running.request.endOne(running.isFinished ? nil : running.failure ?? Self.stopped)
  }

  /// Where rotary tables change with the length, keys and values fit no other length, and no guess.
  private var positionsAreFixed: Bool { model.language.config.ropeScaling.isTheSameForAllLengths }

  // MARK: One step

  /// One forward pass over `chunks`, those of answers first; `body` reads (and may overwrite) the logits [wanted
  /// rows, vocabulary] of the chunks in order.
  private func step(_ body: (Activations) -> Void) {
    scratch.frame {
      let language = model.language
      let x = scratch.take(rows: chunks.reduce(0) { $0 + $1.count }, width: language.config.hidden)
      segments.removeAll(keepingCapacity: true)
      var row = 0
      var decodeRows = 0
      for chunk in chunks {
        let rows = row..<row + chunk.count
        switch chunk.input {
        case .prompt(let prompt, let part): prompt.write(part, into: x.rows(rows), language, backend)
        case .answer:
          chunk.job?.withTokens { backend.gather($0, from: language.embeddings, into: x.rows(rows)) }
          decodeRows = rows.upperBound
        }
        segments.append(
          Segment(
            cache: chunk.cache, rows: rows, wanted: chunk.wanted, position: chunk.cache.count,
            expectedLength: chunk.expectedLength))
        row = rows.upperBound
      }
      let step = Step(backend: backend, scratch: scratch, segments: segments, decodeRows: decodeRows)
      let wanted = chunks.reduce(0) { $0 + $1.wanted }
      let hidden = scratch.take(rows: wanted, width: x.width)
      language.forward(x, into: hidden, step)
      for chunk in chunks { chunk.cache.count += chunk.count }

      let logits = scratch.take(rows: wanted, width: language.config.vocabulary)
      if wanted > 0 { language.logits(hidden, into: logits, step) }
      body(logits)
    }
  }

  private static func checkCancellation() throws(LimnError) {
    if Task.isCancelled { throw stopped }
  }

  private static var stopped: LimnError { LimnError(.interrupted, "stopped") }
}

/// Runs an actor's work on a dispatch queue, so that a forward pass never blocks a thread of Swift's own pool.
private final class QueueExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "limn.engine", qos: .userInitiated)
  private let waiting = Atomic<Int>(0)

  /// Whether there is work that waits for what is running now.
  var isAwaited: Bool { waiting.load(ordering: .relaxed) > 0 }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    waiting.add(1, ordering: .relaxed)
    queue.async {
      self.waiting.subtract(1, ordering: .relaxed)
      job.runSynchronously(on: self.asUnownedSerialExecutor())
    }
  }
}
