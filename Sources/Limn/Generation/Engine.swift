import LimnFiles
package import LimnCore
package import LimnImage
package import LimnTensor
import Synchronization

/// Runs models, one slice of work at a time, on a thread of its own. It knows tokens and embeddings, not text.
///
/// Decoding sequences share each decode step; between two steps there is a slice of time for encoding images and
/// prefilling prompts (see `Scheduler`). A new sequence joins between two slices. Each sequence has its own cache, and
/// none of its results depends on the sequences that run beside it. A single question is a batch of one.
package actor Engine {
  package nonisolated let model: Llava
  package nonisolated let storage: KVType
  private let context: Int
  let limits: Limits
  private var scheduler: Scheduler
  private var images: ImageStore
  private var store: KVStore
  /// The running sequences, and those that wait to join them.
  private var running: [Sequence] = []
  private var waiting: [Waiting] = []
  private var encodings: [PendingImage] = []
  private var passes: [ForwardPass] = []
  private var isRunning = false
  /// The memory of decode steps, of finished prefill passes (for reuse), and of images.
  private let stepMemory: PassMemory
  private var freeMemory: [PassMemory] = []
  private let imageScratch: Scratch
  /// Counts of the work done so far, for tests and reports.
  package private(set) var statistics = Statistics()

  package struct Limits: Sendable {
    /// How many sequences may run at the same time; more than this wait.
    package var maxSequences = 8
    /// How many sequences may wait; more than this are refused. nil: any number.
    package var maxWaiting: Int?
    /// Bytes of keys and values, of running sequences and kept caches together. 0: no cache is kept.
    package var cacheBytes = 1 << 30
    package var scheduler = Scheduler.Limits()
    /// Seconds since an arbitrary start, used to measure slices of time.
    package var clock: @Sendable () -> Double = { [start = ContinuousClock.now] in
      (ContinuousClock.now - start) / .seconds(1)
    }

    package init() {}
  }

  package struct Statistics: Sendable {
    package var decodeSteps = 0
    /// Sequences that took part in decode steps, counted once for each step.
    package var decodedSequences = 0
    package var passes = 0
    package var imagesEncoded = 0
    package var forks = 0
  }

  private struct Waiting {
    let request: SequenceRequest
    let stop: StopSign
    let events: AsyncStream<SequenceEvent>.Continuation
  }

  private nonisolated let executor = QueueExecutor()
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameter context: the greatest length of a sequence.
  package init(_ model: Llava, storage: KVType, context: Int, limits: Limits = Limits()) {
    self.model = model
    self.storage = storage
    self.context = context
    self.limits = limits
    let config = model.language.config
    let attention = 2 * (config.heads + config.kvHeads) * config.headSize
    scheduler = Scheduler(
      limits.scheduler, operationsPerRowLayer: 2 * Double(config.hidden * (attention + 3 * config.ffn)),
      operationsPerSecond: model.backend.assumedOperationsPerSecond)
    images = ImageStore(limit: min(limits.cacheBytes / 8, 256 << 20))
    store = KVStore(budget: limits.cacheBytes)
    stepMemory = PassMemory(model.language.placement)
    imageScratch = Scratch(model.backend)
  }

  // MARK: Asking

  /// Generates sequences alongside those that are running.
  /// - Returns: a handle for each, whose events end with `ended`.
  /// - Throws: `unavailable` if too many are waiting already.
  package func generate(_ requests: [SequenceRequest]) throws(LimnError) -> [SequenceHandle] {
    if let most = limits.maxWaiting, waiting.count + requests.count > most + limits.maxSequences - running.count {
      throw LimnError(
        .unavailable, code: .queueFull, "too many questions wait already", expected: "at most \(most)",
        found: "\(waiting.count)", remedy: "ask again in a moment")
    }
    let handles = requests.map { request in
      let stop = StopSign()
      let (stream, continuation) = AsyncStream.makeStream(of: SequenceEvent.self)
      continuation.onTermination = { _ in stop.raise() }
      waiting.append(Waiting(request: request, stop: stop, events: continuation))
      return SequenceHandle(stream, stop)
    }
    start()
    return handles
  }

  /// An image's embeddings. Callers who ask for the same image at the same time share the work.
  /// - Parameters:
  ///   - file: the file that the image was read from.
  ///   - reuse: whether embeddings computed earlier may be returned, and these are kept for later.
  ///   - progress: receives how many tiles are done, and how many there are.
  package func encode(
    _ image: ProcessedImage, file: ImageKey? = nil, reuse: Bool = false,
    progress: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
  ) async throws(LimnError) -> ImageEmbedding {
    if Task.isCancelled { throw Self.stopped }
    let key = ImageKey(image)
    if reuse, let known = images.embedding(of: key, file: file) { return known }
    let pending: PendingImage
    if reuse, let shared = encodings.first(where: { $0.reuse && $0.encoding.key == key }) {
      pending = shared
    } else {
      pending = PendingImage(try ImageEncoding(image, model), reuse: reuse, since: limits.clock())
      encodings.append(pending)
    }
    let stop = StopSign()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        pending.waiters.append(.init(stop: stop, file: file, progress: progress, continuation: continuation))
        start()
      }
    } onCancel: {
      stop.raise()
    }
    return try result.get()
  }

  /// The embeddings of the image in a file, if it was encoded before.
  package func embedding(of file: ImageKey) -> ImageEmbedding? { images.embedding(of: file) }

  /// Discards everything that was kept for later sequences.
  package func forget() {
    images.removeAll()
    store.removeAll()
  }

  // MARK: The loop

  private func start() {
    guard !isRunning else { return }
    isRunning = true
    Task { await run() }
  }

  /// Computes as long as there is work. Callers of the engine get their turn between two slices.
  private func run() async {
    while true {
      retire()
      admit()
      let answers = decodeStep()
      let reads = read(besideAnswers: answers)
      guard answers || reads || !running.isEmpty || !waiting.isEmpty else { break }
      if executor.isAwaited { await Task.yield() }
    }
    isRunning = false
  }

  /// Retires finished and stopped sequences, and drops stopped requests that wait.
  private func retire() {
    for sequence in running { sequence.obeyStop() }
    passes.removeAll { pass in
      guard pass.chunks.allSatisfy({ $0.sequence?.ending != nil }) else { return false }
      free(pass)
      return true
    }
    for sequence in running where sequence.ending != nil { finish(sequence) }
    running.removeAll { $0.ending != nil }
    waiting.removeAll { item in
      guard item.stop.isRaised else { return false }
      item.events.yield(.ended(.cancelled))
      item.events.finish()
      return true
    }
    for pending in encodings { pending.removeStopped(Self.stopped) }
    encodings.removeAll { $0.waiters.isEmpty }
  }

  private func finish(_ sequence: Sequence) {
    // Followers that wait for its positions take those that are there.
    for follower in running {
      if case .following(let leader, let positions) = follower.state, leader === sequence, follower.ending == nil {
        fork(sequence.cache, positions: min(positions, sequence.cache.count), for: follower)
      }
    }
    // If the pass also serves other sequences, it goes on writing to this cache until its last layer.
    let isWritten = passes.contains { $0.chunks.contains { $0.sequence === sequence } }
    var isSound = true
    if case .failed = sequence.ending { isSound = false }
    if sequence.request.reuse, positionsAreFixed, isSound, !isWritten {
      let live = liveBytes(without: sequence)
      store.keep(sequence.cache, sequence.keys, adapters: sequence.request.adapters, live: live)
    }
    sequence.finish()
  }

  /// Admits waiting sequences as long as there are places and memory for them.
  private func admit() {
    while running.count < max(1, limits.maxSequences), let item = waiting.first {
      let needed = positions(item.request) * bytesPerPosition
      let live = liveBytes()
      if !running.isEmpty, live + needed > max(limits.cacheBytes, 1) { return }
      waiting.removeFirst()
      do throws(LimnError) {
        running.append(try admitted(item))
        store.makeRoom(for: live + needed, sparing: 1)
      } catch {
        item.events.yield(.ended(.failed(error)))
        item.events.finish()
      }
    }
  }

  private func admitted(_ item: Waiting) throws(LimnError) -> Sequence {
    let request = item.request
    func sequence(_ cache: KVCache, _ state: Sequence.State) -> Sequence {
      Sequence(
        request, cache, state: state, stop: item.stop, events: item.events, admitted: limits.clock(),
        draftCost: positionsAreFixed ? model.backend.furtherTokenCost : nil)
    }
    let needed = positions(request)
    guard positionsAreFixed, request.reuse else {
      return sequence(try model.language.makeCache(capacity: needed, storage: storage), .prefill)
    }
    // Leaves room for the conversation's next turns; positions that are never written cost no memory.
    let room = max(needed, min(context, max(4096, 2 * needed)))
    let keys = request.prompt.keys
    let leader = leader(of: keys, adapters: request.adapters)
    let kept = store.beginning(of: keys, adapters: request.adapters, capacity: needed)
    var keptPositions = 0
    switch kept {
    case .own(let cache): keptPositions = cache.count
    case .shared(_, let positions): keptPositions = positions
    case nil: break
    }
    if case .own(let cache) = kept, leader?.positions ?? 0 <= keptPositions { return sequence(cache, .prefill) }
    let cache = try model.language.makeCache(capacity: room, storage: storage)
    if let leader, leader.positions > keptPositions + KVStore.worthCopying {
      if case .own(let unused) = kept {
        store.keep(unused, Array(keys.prefix(unused.count)), adapters: request.adapters, live: 0)
      }
      return sequence(cache, .following(leader.sequence, positions: leader.positions))
    }
    switch kept {
    case .shared(let source, let positions): copy(source, positions: positions, into: cache)
    case .own(let source): return sequence(source, .prefill)
    case nil: break
    }
    return sequence(cache, .prefill)
  }

  /// The running sequence whose prompt shares the longest beginning with this one, computed or not yet.
  private func leader(of keys: [PromptInputs.Key], adapters: [Int]) -> (sequence: Sequence, positions: Int)? {
    var best: (sequence: Sequence, positions: Int)?
    for other in running where other.request.reuse && other.request.adapters == adapters && other.ending == nil {
      let shared = KVStore.shared(other.request.prompt.keys, with: keys)
      if shared >= KVStore.worthCopying, shared > best?.positions ?? 0 { best = (other, shared) }
    }
    return best
  }

  private func fork(_ cache: KVCache, positions: Int, for follower: Sequence) {
    copy(cache, positions: positions, into: follower.cache)
    follower.begin()
  }

  private func copy(_ source: KVCache, positions: Int, into cache: KVCache) {
    model.language.copy(source, positions: positions, into: cache)
    statistics.forks += 1
  }

  // MARK: Decode

  /// One decode step for all decoding sequences, which gives each one token, or more where drafts are right. Prompts
  /// with few positions left join it.
  private func decodeStep() -> Bool {
    let decoding = running.filter { if case .decode = $0.state { true } else { false } }
    guard !decoding.isEmpty else { return false }
    let start = limits.clock()
    var rowsLeft = limits.scheduler.maxRows
    var chunks: [Chunk] = []
    for (index, sequence) in decoding.enumerated() {
      // Leaves a row for each of the sequences that follow.
      let chunk = sequence.decodeChunk(atMost: max(1, rowsLeft - (decoding.count - 1 - index)), among: running.count)
      rowsLeft -= chunk.count
      chunks.append(chunk)
    }
    var joins = false
    for sequence in running where rowsLeft > 0 {
      guard case .prefill = sequence.state, sequence.promptLeft <= min(limits.scheduler.joinRows, rowsLeft) else {
        continue
      }
      let chunk = sequence.prefillChunk(atMost: rowsLeft)
      rowsLeft -= chunk.count
      chunks.append(chunk)
      joins = true
    }
    stepMemory.reset()
    let pass = ForwardPass(chunks, model.language, stepMemory)
    pass.advance(layers: pass.layersLeft)
    finish(pass)
    statistics.decodeSteps += 1
    statistics.decodedSequences += decoding.count
    if !joins { scheduler.measured(decodeStep: limits.clock() - start) }
    return true
  }

  private func finish(_ pass: ForwardPass) {
    pass.finish { chunk, logits in
      guard let sequence = chunk.sequence, sequence.ending == nil else { return }
      sequence.take(logits, rows: chunk.wanted)
    }
  }

  // MARK: Prefill and images

  private enum Item {
    case pass(ForwardPass)
    case prompt(Sequence)
    case image(PendingImage)
  }

  /// Encodes images and prefills prompts for a slice of time; false if there is none of that to do.
  private func read(besideAnswers: Bool) -> Bool {
    copyBeginnings()
    let start = limits.clock()
    let slice = scheduler.slice(besideAnswers: besideAnswers)
    func elapsed() -> Double { limits.clock() - start }
    var didRead = false
    while let item = nextItem() {
      let cost: Double
      switch item {
      case .pass(let pass): cost = scheduler.cost(.prefill(rows: pass.rows, layers: 1))
      case .prompt(let sequence):
        passes.append(begin(sequence, besideAnswers: besideAnswers))
        continue
      case .image: cost = scheduler.cost(.image(slices: 1))
      }
      if didRead, elapsed() + cost > slice || executor.isAwaited || isStopRaised { break }
      didRead = true
      switch item {
      case .pass(let pass): advance(pass)
      case .image(let pending): advance(pending)
      case .prompt: break
      }
    }
    return didRead
  }

  private func nextItem() -> Item? {
    let now = limits.clock()
    var items: [(item: Item, work: Scheduler.Work, since: Double)] = []
    let layers = model.language.layerCount
    for pass in passes {
      let since = pass.chunks.compactMap { $0.sequence?.admitted }.min() ?? now
      items.append((.pass(pass), .prefill(rows: pass.rows, layers: pass.layersLeft), since))
    }
    for sequence in running {
      guard case .prefill = sequence.state, sequence.ending == nil else { continue }
      items.append((.prompt(sequence), .prefill(rows: sequence.promptLeft, layers: layers), sequence.admitted))
    }
    for pending in encodings {
      items.append((.image(pending), .image(slices: pending.encoding.slicesLeft), pending.since))
    }
    return scheduler.next(items.map { ($0.work, now - $0.since) }).map { items[$0].item }
  }

  /// Begins a pass over the next part of a prompt, filled up with other prompts.
  private func begin(_ first: Sequence, besideAnswers: Bool) -> ForwardPass {
    var rowsLeft = scheduler.rowsPerPass(besideAnswers: besideAnswers)
    var chunks: [Chunk] = []
    for sequence in [first] + running where rowsLeft > 0 && sequence.ending == nil {
      guard case .prefill = sequence.state else { continue }
      let chunk = sequence.prefillChunk(atMost: rowsLeft)
      sequence.state = .inPass
      rowsLeft -= chunk.count
      chunks.append(chunk)
    }
    let memory = freeMemory.popLast() ?? PassMemory(model.language.placement)
    memory.reset()
    statistics.passes += 1
    return ForwardPass(chunks, model.language, memory)
  }

  private func advance(_ pass: ForwardPass) {
    let start = limits.clock()
    pass.advance()
    // The stop signs stay raised: `retire` drops the pass.
    if pass.isAbandoned { return }
    scheduler.measured(
      prefillLayers: 1, rows: pass.rows, seconds: limits.clock() - start)
    guard pass.layersLeft == 0 else { return }
    finish(pass)
    passes.removeAll { $0 === pass }
    free(pass)
  }

  private func free(_ pass: ForwardPass) { freeMemory.append(pass.memory) }

  private func advance(_ pending: PendingImage) {
    let start = limits.clock()
    let step = Step(backend: model.backend, scratch: imageScratch)
    model.backend.submit { pending.encoding.advance(step) }
    scheduler.measured(imageSlice: limits.clock() - start)
    pending.report()
    guard pending.encoding.slicesLeft == 0 else { return }
    let embedding = pending.encoding.finish(step)
    statistics.imagesEncoded += 1
    encodings.removeAll { $0 === pending }
    if pending.reuse { images.keep(embedding, files: pending.waiters.compactMap(\.file)) }
    pending.finish(embedding)
  }

  /// Gives followers the positions that they wait for, once their leader has computed them.
  private func copyBeginnings() {
    for follower in running {
      guard case .following(let leader, let positions) = follower.state, follower.ending == nil,
        leader.cache.count >= positions
      else { continue }
      fork(leader.cache, positions: positions, for: follower)
    }
  }

  // MARK: Facts

  private var isStopRaised: Bool {
    running.contains { $0.isStopRaised } || encodings.contains { $0.isStopRaised }
  }

  /// Whether keys and values stay valid while a sequence grows. They do not if rotary tables change with its length:
  /// then caches are not reused and nothing is drafted.
  private var positionsAreFixed: Bool { model.language.config.ropeScaling.isTheSameForAllLengths }

  private func positions(_ request: SequenceRequest) -> Int { request.prompt.count + request.maxTokens }

  private var bytesPerPosition: Int {
    let config = model.language.config
    return 2 * config.layers * config.kvHeads * storage.bytes(headSize: config.headSize)
  }

  /// The bytes of keys and values that running sequences may grow to.
  private func liveBytes(without other: Sequence? = nil) -> Int {
    running.reduce(0) { $1 === other ? $0 : $0 + positions($1.request) * bytesPerPosition }
  }

  static var stopped: LimnError { LimnError(.interrupted, "stopped") }
}
