import LimnFiles
package import LimnCore
package import LimnTensor
import Synchronization

/// What `limn bench` measures, and the work that it sets the measured speeds against.
extension VisionLanguageModel {
  /// Bytes that a decode step reads after this many positions: all weights of the language model as they lie in memory,
  /// and keys and values.
  package func bytesPerStep(after positions: Int) throws(LimnError) -> Int {
    let figures = try engine.model.language.estimate(
      rows: 1, after: positions, wanted: 1, phase: .decode, storage: engine.storage)
    return figures.weightsRead + figures.keysAndValuesRead
  }

  /// Multiplications and additions for one token of a prompt, of its matrix products: in the last layer, for keys and
  /// values only. Attention's own, which grow with the length, are not counted.
  package var operationsPerToken: Int {
    get throws(LimnError) { try prefillProducts.values.reduce(0, +) }
  }

  private var prefillProducts: [TensorType: Int] {
    get throws(LimnError) {
      try engine.model.language.estimate(rows: 1, after: 0, wanted: 0, phase: .prefill, storage: engine.storage).products
    }
  }

  /// Whether a CPU multiplies prompts with most of the weights as 8-bit integers.
  package func readsInBytes(on cpu: CPU) throws(LimnError) -> Bool {
    let products = try prefillProducts
    let inBytes = products.filter { cpu.readsInBytes($0.key) }.values.reduce(0, +)
    return 2 * inBytes > products.values.reduce(0, +)
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
    let requests = (0..<sequences).map { sequence in
      // Which tokens they are makes no difference to the time.
      func id(_ place: Int) -> Int32 { Int32((place * 7 + 3 + sequence) % vocabularySize) }
      let ids = (0..<promptTokens).map(id)
      var request = SequenceRequest(
        prompt: PromptInputs(tokens: ids),
        // A sequence that has read its prompt early goes on until all are measured.
        maxTokens: min(
          genTokens + (sequences == 1 ? 0 : sequences * (1 + promptTokens / 100)), context - promptTokens))
      request.speculation = quoting
      if quoting {
        request.script = (0..<genTokens).map { $0 % 20 < 16 ? ids[$0 % promptTokens] : id(promptTokens + $0) }
      }
      return request
    }
    let start = ContinuousClock.now
    let handles = try await engine.generate(requests)
    await withTaskGroup { group in
      for (index, handle) in handles.enumerated() {
        group.addTask {
          for await case .choices(let choices, let time) in handle.events {
            for _ in choices where !watch.count(tokenAt: time, of: index) { handle.stop() }
          }
        }
      }
    }
    if Task.isCancelled { throw LimnError(.interrupted, "stopped") }
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

    /// Takes a token of a sequence; false where enough are counted.
    func count(tokenAt time: ContinuousClock.Instant, of sequence: Int) -> Bool {
      state.withLock { times in
        guard times.first == nil else {
          if times.counted < tokens {
            times.counted += 1
            times.last = time
          }
          return times.counted < tokens
        }
        times.waitingFor.remove(sequence)
        if times.waitingFor.isEmpty { times.first = time }
        return true
      }
    }
  }
}
