package import LimnCore
package import LimnImage

/// How answers keep their pace while something else is read: what `limn bench --pace` measures.
extension VisionLanguageModel {
  /// All times in milliseconds.
  package struct Pace: Sendable {
    /// From one token to the next of an answer that is alone: the median.
    package var distance = 0.0
    /// The same while a prompt is read, and while an image is: the 99th percentile.
    package var besidePrompt = 0.0
    package var besideImage = 0.0
    /// A prompt's time beside an answer, over its time alone plus that of the tokens that the answer gave meanwhile.
    package var wholeRatio = 0.0
    /// To the first token of one question about a new image, and of the last of eight that are asked together.
    package var oneQuestion = 0.0
    package var eightQuestions = 0.0
    /// From stopping a sequence whose prompt is being read until its place is free.
    package var stop = 0.0

    package init() {}
  }

  /// - Parameters:
  ///   - promptTokens: of the prompt that is read beside an answer.
  ///   - images: three that are new, each for one measurement.
  /// - Precondition: the context has room for twice the prompt.
  package func measurePace(promptTokens: Int, images: [ProcessedImage]) async throws(LimnError) -> Pace {
    var pace = Pace()
    let promptAlone = try await readPrompt(promptTokens, seed: 1)

    let answer = try await engine.generate([sequence(8, seed: 2, maxTokens: context - 8)])[0]
    async let answered = Self.times(of: answer)
    try? await Task.sleep(for: .seconds(4))
    let beginning = ContinuousClock.now
    let promptBeside = try await readPrompt(promptTokens, seed: 3)
    let middle = ContinuousClock.now
    _ = try await engine.encode(images[0])
    let end = ContinuousClock.now
    answer.stop()
    let times = await answered
    func gaps(_ isWithin: (ContinuousClock.Instant) -> Bool) -> [Double] {
      zip(times, times.dropFirst()).filter { isWithin($0) && isWithin($1) }.map { ($1 - $0).milliseconds }.sorted()
    }
    func percentile(_ sorted: [Double], _ share: Double) -> Double {
      sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
    }
    pace.distance = percentile(gaps { $0 < beginning }, 0.5)
    let beside = gaps { $0 >= beginning && $0 < middle }
    pace.besidePrompt = percentile(beside, 0.99)
    pace.besideImage = percentile(gaps { $0 >= middle && $0 < end }, 0.99)
    pace.wholeRatio = promptBeside / (promptAlone + Double(beside.count) * pace.distance)

    pace.oneQuestion = try await firstTokens(of: 1, about: images[1])
    pace.eightQuestions = try await firstTokens(of: 8, about: images[2])

    let stopped = try await engine.generate([sequence(promptTokens, seed: 5, maxTokens: 2)])[0]
    try? await Task.sleep(for: .seconds(1))
    let stop = ContinuousClock.now
    stopped.stop()
    for await _ in stopped.events {}
    pace.stop = (ContinuousClock.now - stop).milliseconds
    return pace
  }

  /// A prompt of made-up tokens: which ones they are makes no difference to the time.
  private func sequence(_ count: Int, seed: Int, maxTokens: Int) -> SequenceRequest {
    let ids = (0..<count).map { Int32(($0 * 7 + 3 + seed * 131) % vocabularySize) }
    var request = SequenceRequest(prompt: PromptInputs(tokens: ids), maxTokens: maxTokens)
    request.speculation = false
    return request
  }

  private func readPrompt(_ count: Int, seed: Int) async throws(LimnError) -> Double {
    let start = ContinuousClock.now
    let handle = try await engine.generate([sequence(count, seed: seed, maxTokens: 1)])[0]
    _ = await Self.times(of: handle)
    return (ContinuousClock.now - start).milliseconds
  }

  /// Asks questions about an image at the same time; returns when the last one has its first token.
  private func firstTokens(of count: Int, about image: ProcessedImage) async throws(LimnError) -> Double {
    let start = ContinuousClock.now
    let embedding = try await engine.encode(image, reuse: true)
    let requests = (0..<count).map { index in
      let tail = (0..<20).map { Int32(($0 * 11 + index * 37 + 3) % vocabularySize) }
      var prompt = PromptInputs(tokens: [1, 3, 4])
      prompt.append(embedding)
      prompt.append(tokens: tail)
      var request = SequenceRequest(prompt: prompt, maxTokens: 1)
      request.reuse = true
      return request
    }
    let handles = try await engine.generate(requests)
    for handle in handles { _ = await Self.times(of: handle) }
    return (ContinuousClock.now - start).milliseconds
  }

  /// When each token of a sequence was chosen.
  private static func times(of handle: SequenceHandle) async -> [ContinuousClock.Instant] {
    var times: [ContinuousClock.Instant] = []
    for await case .choices(let choices, let time) in handle.events { times += choices.map { _ in time } }
    return times
  }
}
