import LimnFiles
package import LimnCore
package import LimnTensor
import Synchronization

/// What `limn bench` measures, and the work that it sets the measured speeds against.
extension VisionLanguageModel {
  /// Bytes that a step reads behind so many positions: the matrices of all layers of the language model and of the
  /// output head as they lie in memory, and keys and values.
  package func bytesPerStep(behind positions: Int) -> Int {
    let language = engine.model.language
    let config = language.config
    let weights = language.matrices.joined().reduce(language.head.byteCount) { $0 + $1.byteCount }
    let seen = min(positions, config.slidingWindow ?? positions)
    return weights + seen * 2 * config.layers * config.kvHeads * engine.storage.bytes(headSize: config.headSize)
  }

  /// Multiplications and additions for one token of a prompt: two for each weight of the layers; of the last one, for
  /// keys and values only. Attention's own, which grow with the length, are not counted.
  package var operationsPerToken: Int {
    let language = engine.model.language
    let config = language.config
    let keysAndValues = 2 * config.kvHeads * config.headSize * config.hidden
    return 2 * language.matrices.dropLast().joined().reduce(keysAndValues) { $0 + $1.count }
  }

  /// Whether a CPU multiplies prompts with most of the weights as 8-bit integers.
  package func readsInBytes(on cpu: CPU) -> Bool {
    var (inBytes, all) = (0, 0)
    for matrix in engine.model.language.matrices.joined() {
      all += matrix.count
      if cpu.readsInBytes(matrix.type) { inBytes += matrix.count }
    }
    return 2 * inBytes > all
  }

  /// How fast prompts are read and answers given.
  package struct TextSpeed: Sendable {
    /// Tokens of all sequences' prompts, until each sequence has its first token.
    package var promptPerSecond = 0.0
    /// Tokens of all sequences together, from the moment when all of them answer.
    package var predictedPerSecond = 0.0
  }

  /// Measures sequences with prompts of so many tokens, which then answer together.
  /// - Parameters:
  ///   - genTokens: tokens of each sequence; the first one comes with the prompt and is not measured.
  ///   - quoting: the answers quote the prompt, 16 tokens and then 4 others, and are guessed ahead, which else
  ///     they are not.
  /// - Precondition: `promptTokens` + `genTokens` fit the context; with several sequences a few more.
  package func measureText(
    promptTokens: Int, genTokens: Int, sequences: Int = 1, quoting: Bool = false
  ) async throws(LimnError) -> TextSpeed {
    let watch = Stopwatch(sequences: sequences, tokens: (genTokens - 1) * sequences)
    let jobs = (0..<sequences).map { sequence in
      // Which tokens they are makes no difference to the time.
      func id(_ place: Int) -> Int32 { Int32((place * 7 + 3 + sequence) % vocabularySize) }
      let ids = (0..<promptTokens).map(id)
      var job = GenerationJob(
        prompt: PromptInputs(tokens: ids), sampling: Sampling(),
        // Who has read its prompt early goes on until all are measured.
        maxTokens: min(
          genTokens + (sequences == 1 ? 0 : sequences * (1 + promptTokens / 100)), context - promptTokens)
      ) { watch.receive($0, of: sequence) }
      job.speculation = quoting
      if quoting {
        job.script = (0..<genTokens).map { $0 % 20 < 16 ? ids[$0 % promptTokens] : id(promptTokens + $0) }
      }
      return job
    }
    let start = ContinuousClock.now
    try await engine.generate(jobs)
    let times = watch.times
    var speed = TextSpeed()
    guard let first = times.first else { return speed }
    speed.promptPerSecond = Double(promptTokens * sequences) / (first - start).milliseconds * 1000
    let predicted = ((times.last ?? first) - first).milliseconds
    speed.predictedPerSecond = predicted > 0 ? Double(times.counted) / predicted * 1000 : 0
    return speed
  }

  /// Counts the tokens of several sequences from the moment when each of them has one.
  private final class Stopwatch: Sendable {
    struct Times {
      var waitingFor: Set<Int>
      var first: ContinuousClock.Instant?
      var last: ContinuousClock.Instant?
      var counted = 0
    }

    private let state: Mutex<Times>
    private let tokens: Int
    var times: Times { state.withLock { $0 } }

    /// - Parameter tokens: how many are counted.
    init(sequences: Int, tokens: Int) {
      state = Mutex(Times(waitingFor: Set(0..<sequences)))
      self.tokens = tokens
    }

    func receive(_ event: GenerationJob.Event, of sequence: Int) -> Bool {
      guard case .token = event else { return true }
      return state.withLock { times in
        guard times.first == nil else {
          if times.counted < tokens {
            times.counted += 1
            times.last = .now
          }
          return times.counted < tokens
        }
        times.waitingFor.remove(sequence)
        if times.waitingFor.isEmpty { times.first = .now }
        return true
      }
    }
  }
}
