import LimnFiles
package import LimnCore
package import LimnTensor
import Synchronization

/// The measurements of `limn bench`, and the work to which it compares the measured speeds.
extension VisionLanguageModel {
  /// Bytes that a decode step reads after this many positions: all weights of the language model as they lie in
  /// memory, plus keys and values.
  package func bytesPerStep(after positions: Int) throws(LimnError) -> Int {
    let figures = try engine.model.language.estimate(
      rows: 1, after: positions, wanted: 1, phase: .decode, storage: engine.storage)
    return figures.weightsRead + figures.keysAndValuesRead
  }

  /// Multiplications and additions in the matrix products for one prompt token; in the last layer, only those for
  /// keys and values. Attention itself, whose work grows with the length, is not counted.
  package var operationsPerToken: Int {
    get throws(LimnError) { try prefillProducts.values.reduce(0, +) }
  }

  private var prefillProducts: [TensorType: Int] {
    get throws(LimnError) {
      try engine.model.language.estimate(rows: 1, after: 0, wanted: 0, phase: .prefill, storage: engine.storage)
        .products
    }
  }

  /// Whether a CPU multiplies prompts with most of the weights as 8-bit integers.
  package func readsInBytes(on cpu: CPU) throws(LimnError) -> Bool {
    let products = try prefillProducts
    let inBytes = products.filter { cpu.readsInBytes($0.key) }.values.reduce(0, +)
    return 2 * inBytes > products.values.reduce(0, +)
  }

  /// Speeds of prefill and decode.
  package struct TextSpeed: Sendable {
    /// Prompt tokens of all sequences, until every sequence has its first token.
    package var promptPerSecond = 0.0
    /// Tokens of all sequences together, from the moment when all of them are decoding.
    package var predictedPerSecond = 0.0
  }

  /// Measures sequences with prompts of this many tokens, which then decode together.
  /// - Parameters:
  ///   - genTokens: tokens of each sequence; the first one comes from the prompt and is not measured.
  ///   - quoting: the answers repeat 16 tokens of the prompt, then 4 others, and so on, with speculation on;
  ///     otherwise it is off.
  /// - Precondition: `promptTokens` + `genTokens` fit the context, with a few more for several sequences.
  package func measureText(
    promptTokens: Int, genTokens: Int, sequences: Int = 1, quoting: Bool = false
  ) async throws(LimnError) -> TextSpeed {
    let watch = Stopwatch(sequences: sequences, tokens: (genTokens - 1) * sequences)
    let requests = (0..<sequences).map { sequence in
      // The choice of tokens makes no difference to the time.
      func id(_ place: Int) -> Int32 { Int32((place * 7 + 3 + sequence) % vocabularySize) }
      let ids = (0..<promptTokens).map(id)
      var request = SequenceRequest(
        prompt: PromptInputs(tokens: ids),
        // A sequence whose prompt is done early keeps decoding until all are measured.
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

    /// - Parameter tokens: how many to count.
    init(sequences: Int, tokens: Int) {
      state = Mutex(Times(waitingFor: Set(0..<sequences)))
      self.tokens = tokens
    }

    /// Records a token of a sequence; false once enough are counted.
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
