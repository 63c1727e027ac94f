import Dispatch
import LimnFiles
package import LimnImage
package import LimnTensor

/// Runs forward passes, one at a time, on a thread of its own: it knows tokens and embeddings, not text.
///
/// A step takes tokens of several sequences, chunks of prompts and single tokens mixed; each sequence has its
/// own cache, and no sequence's result depends on its companions. A single question is a batch of one. While
/// sequences answer, a step allocates nothing.
package actor Engine {
  package nonisolated let model: Llava
  private let backend: CPU
  private let scratch = Scratch()
  private let storage: KVCache.Storage
  private let context: Int
  private var pictures: PictureCache
  private var prefixes: PrefixCache
  /// The step under way; the arrays stay, so that the next one finds their memory.
  private var chunks: [Chunk] = []
  private var segments: [Segment] = []
  /// At most so many rows per step: enough for the matrix products to be efficient, few enough that scratch
  /// memory stays small and a cancelled prompt stops soon.
  private static let rowsPerStep = 1024

  private nonisolated let executor = QueueExecutor()
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameters:
  ///   - context: the longest sequence.
  ///   - cacheBytes: how much memory may be kept for later sequences: an eighth of it for pictures, the rest for
  ///     keys and values.
  package init(_ model: Llava, backend: CPU, compute: Compute, context: Int, cacheBytes: Int) {
    self.model = model
    self.backend = backend
    self.context = context
    storage = compute == .exact ? .float32 : .float16
    pictures = PictureCache(limit: cacheBytes / 8)
    prefixes = PrefixCache(limit: cacheBytes - cacheBytes / 8)
  }

  /// A picture's embeddings.
  /// - Parameters:
  ///   - reuse: whether they may be those of earlier, and are kept for later.
  ///   - progress: is told how many of how many tiles are done.
  package func encode(
    _ image: ProcessedImage, reuse: Bool = false, progress: @Sendable (Int, Int) -> Void = { _, _ in }
  ) throws(LimnError) -> ImageEmbedding {
    try Self.checkCancellation()
    if reuse, let known = pictures.embedding(of: PictureKey(image)) { return known }
    let embedding = try model.encode(image, Step(backend: backend, scratch: scratch)) { done throws(LimnError) in
      progress(done, image.tiles)
      try Self.checkCancellation()
    }
    if reuse { pictures.keep(embedding) }
    return embedding
  }

  /// Lets go of all that was kept for later sequences.
  package func forget() {
    pictures.removeAll()
    prefixes.removeAll()
  }

  /// The logits of every position of a prompt: [positions][vocabulary].
  package func logits(of prompt: PromptInputs) throws(LimnError) -> [[Float]] {
    let cache = model.language.makeCache(capacity: prompt.count, storage: storage)
    var result: [[Float]] = []
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

  /// Generates for several sequences together until each of them has ended.
  package func generate(_ jobs: [GenerationJob]) throws(LimnError) {
    var running = jobs.map(start)
    defer {
      chunks.removeAll(keepingCapacity: true)
      for job in running { finish(job) }
    }
    while !running.isEmpty {
      try Self.checkCancellation()
      chunks.removeAll(keepingCapacity: true)
      // Who answers goes before who reads: a long prompt is not to keep the others waiting, and the two kinds of
      // tokens are multiplied apart.
      var rowsLeft = Self.rowsPerStep
      for isReading in [false, true] {
        for job in running where job.isReading == isReading && rowsLeft > 0 {
          let chunk = job.nextChunk(atMost: rowsLeft, among: running.count)
          rowsLeft -= chunk.count
          chunks.append(chunk)
        }
      }
      step { logits in
        var row = 0
        for chunk in chunks {
          chunk.job?.take(logits.rows(row..<row + chunk.wanted))
          row += chunk.wanted
        }
      }
      for job in running where job.isFinished { finish(job) }
      running.removeAll { $0.isFinished }
    }
  }

  private func start(_ job: GenerationJob) -> RunningJob {
    let language = model.language
    // Rotary tables that change with the length fit neither keys of another length nor guesses.
    let isTheSame = language.config.ropeScaling.isTheSameForAllLengths
    let needed = job.prompt.count + job.maxTokens
    guard job.reuse, isTheSame else {
      let cache = language.makeCache(capacity: needed, storage: storage)
      return RunningJob(job, cache, guesses: isTheSame)
    }
    // Room for the next turns; memory that no position has reached costs nothing.
    let room = max(needed, min(context, max(4096, 2 * needed)))
    let cache =
      prefixes.take(for: job.prompt.keys, capacity: needed)
      ?? language.makeCache(capacity: room, storage: storage)
    return RunningJob(job, cache, guesses: isTheSame)
  }

  private func finish(_ job: RunningJob) {
    guard job.job.reuse, model.language.config.ropeScaling.isTheSameForAllLengths else { return }
    prefixes.keep(job.cache, job.keys)
  }

  /// One forward pass over `chunks`, those of answers first; `body` reads (and may overwrite) the logits [wanted rows, vocabulary] of the
  /// chunks in order.
  private func step(_ body: (Activations) -> Void) {
    scratch.frame {
      let language = model.language
      let x = scratch.take(rows: chunks.reduce(0) { $0 + $1.count }, width: language.config.hidden)
      segments.removeAll(keepingCapacity: true)
      var row = 0
      var answerRows = 0
      for chunk in chunks {
        let rows = row..<row + chunk.count
        switch chunk.input {
        case .prompt(let prompt, let part): prompt.write(part, into: x.rows(rows), language, backend)
        case .answer:
          chunk.job?.withTokens { backend.gather($0, from: language.embeddings, into: x.rows(rows)) }
          answerRows = rows.upperBound
        }
        segments.append(
          Segment(
            cache: chunk.cache, rows: rows, position: chunk.cache.count, expectedLength: chunk.expectedLength))
        row = rows.upperBound
      }
      let step = Step(backend: backend, scratch: scratch, segments: segments, answerRows: answerRows)
      language.forward(x, step)
      for chunk in chunks { chunk.cache.count += chunk.count }

      let wanted = chunks.reduce(0) { $0 + $1.wanted }
      let hidden = scratch.take(rows: wanted, width: x.width)
      let logits = scratch.take(rows: wanted, width: language.config.vocabulary)
      var target = hidden.pointer
      for (chunk, segment) in zip(chunks, segments) {
        let count = chunk.wanted * x.width
        target.update(from: x.pointer + segment.rows.upperBound * x.width - count, count: count)
        target += count
      }
      if wanted > 0 { language.logits(hidden, into: logits, step) }
      body(logits)
    }
  }

  private static func checkCancellation() throws(LimnError) {
    if Task.isCancelled { throw LimnError(.interrupted, "stopped") }
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
