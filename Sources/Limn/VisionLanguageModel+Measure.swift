import LimnFiles
package import LimnTensor
import Synchronization

/// What `limn bench` measures, and the work that it sets the measured speeds against.
extension VisionLanguageModel {
  package var hasVision: Bool { checkpoint.config.vision != nil }

  /// Bytes that a step reads behind so many positions: the weights of all layers of the language model and of the output
  /// head, and keys and values.
  package func bytesPerStep(behind positions: Int) -> Int {
    let head =
      checkpoint.tensors["lm_head.weight"] ?? checkpoint.tensors["language_model.embed_tokens.weight"]
    let weights = layerTensors.reduce(head?.range.count ?? 0) { $0 + $1.range.count }
    let language = checkpoint.config.language
    let seen = min(positions, language.slidingWindow ?? positions)
    return weights + seen * 2 * language.layers * language.kvHeads * engine.storage.bytes(headSize: language.headSize)
  }

  /// Multiplications and additions for one token of a prompt: two for each weight of the layers; of the last one, for
  /// keys and values only. Attention's own, which grow with the length, are not counted.
  package var operationsPerToken: Int {
    let language = checkpoint.config.language
    let last = "language_model.layers.\(language.layers - 1)."
    return checkpoint.tensors.reduce(0) { sum, entry in
      let (name, tensor) = entry
      guard name.hasPrefix("language_model.layers."), tensor.shape.count > 1 else { return sum }
      if !name.hasPrefix(last) || name.contains(".k_proj.") || name.contains(".v_proj.") {
        return sum + 2 * tensor.count
      }
      guard name.contains(".qkv_proj.") else { return sum }
      return sum + 2 * tensor.count * 2 * language.kvHeads / (language.heads + 2 * language.kvHeads)
    }
  }

  /// Whether a CPU multiplies prompts with most of the weights as 8-bit integers.
  package func readsInBytes(on cpu: CPU) -> Bool {
    var (bytes, all) = (0, 0)
    for tensor in layerTensors {
      all += tensor.range.count
      if cpu.readsInBytes(tensor.type) { bytes += tensor.range.count }
    }
    return 2 * bytes > all
  }

  private var layerTensors: [Tensor] {
    checkpoint.tensors.filter { $0.key.hasPrefix("language_model.layers.") }.map(\.value)
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
