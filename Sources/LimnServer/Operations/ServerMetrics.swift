import Limn
import Synchronization

/// What the server counts, in Prometheus' text form. llama.cpp's names are there because dashboards read them.
final class ServerMetrics: Sendable {
  private struct Histogram {
    let bounds: [Double]
    var counts: [Int]
    var sum = 0.0

    init(_ bounds: [Double]) {
      self.bounds = bounds
      counts = [Int](repeating: 0, count: bounds.count + 1)
    }

    mutating func add(_ value: Double) {
      counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
      sum += value
    }
  }

  private struct State {
    var promptTokens = 0
    var cachedTokens = 0
    var promptSeconds = 0.0
    var predictedTokens = 0
    var predictedSeconds = 0.0
    var longest = 0
    var pictures = 0
    var waiting = Histogram([0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300])
    var firstToken = Histogram([0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120])
    var betweenTokens = Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5])
    var whole = Histogram([0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600])
  }

  private let state = Mutex(State())

  init() {}

  func waited(seconds: Double) { state.withLock { $0.waiting.add(seconds) } }

  func received(_ event: AnswerEvent) {
    if case .encoding(let done, let total) = event, done == total { state.withLock { $0.pictures += 1 } }
  }

  func finished(_ answer: Answer, seconds: Double) {
    let timings = answer.timings
    state.withLock { state in
      state.promptTokens += timings.promptComputed
      state.cachedTokens += answer.usage.promptTokens - timings.promptComputed
      state.promptSeconds += timings.prompt / 1000
      state.predictedTokens += answer.usage.completionTokens
      state.predictedSeconds += timings.predicted / 1000
      state.longest = max(state.longest, answer.usage.promptTokens + answer.usage.completionTokens)
      state.firstToken.add(timings.firstToken / 1000)
      if timings.predictedTokens > 0 {
        state.betweenTokens.add(timings.predicted / 1000 / Double(timings.predictedTokens))
      }
      state.whole.add(seconds)
    }
  }

  /// - Parameters:
  ///   - running, waiting: requests that are being answered, and those that wait.
  ///   - models: how many are open.
  ///   - steps, sequences: decode steps of the open models, and the sequences in them together.
  ///   - memory: the most bytes that the process has had resident.
  func text(running: Int, waiting: Int, models: Int, steps: Int, sequences: Int, memory: Int) -> String {
    let state = state.withLock { $0 }
    var lines: [String] = []
    func number(_ value: Double) -> String { value == value.rounded() ? "\(Int(value))" : "\(value)" }
    func add(_ name: String, _ kind: String, _ help: String, _ value: Double) {
      lines += ["# HELP \(name) \(help)", "# TYPE \(name) \(kind)", "\(name) \(number(value))"]
    }
    func rate(_ count: Int, _ seconds: Double) -> Double { seconds > 0 ? Double(count) / seconds : 0 }
    func add(_ name: String, _ help: String, _ histogram: Histogram) {
      lines += ["# HELP \(name) \(help)", "# TYPE \(name) histogram"]
      var sum = 0
      for (bound, count) in zip(histogram.bounds, histogram.counts) {
        sum += count
        lines.append("\(name)_bucket{le=\"\(number(bound))\"} \(sum)")
      }
      sum += histogram.counts.last ?? 0
      lines += ["\(name)_bucket{le=\"+Inf\"} \(sum)", "\(name)_sum \(number(histogram.sum))", "\(name)_count \(sum)"]
    }
    add("llamacpp:prompt_tokens_total", "counter", "Prompt tokens that were computed.", Double(state.promptTokens))
    add("llamacpp:prompt_seconds_total", "counter", "Seconds of prefill.", state.promptSeconds)
    add("llamacpp:tokens_predicted_total", "counter", "Tokens of answers.", Double(state.predictedTokens))
    add("llamacpp:tokens_predicted_seconds_total", "counter", "Seconds of decode.", state.predictedSeconds)
    add("llamacpp:n_decode_total", "counter", "Decode steps of the open models.", Double(steps))
    add("llamacpp:n_tokens_max", "counter", "The longest prompt and answer, in tokens.", Double(state.longest))
    add(
      "llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens a second.",
      rate(state.promptTokens, state.promptSeconds))
    add(
      "llamacpp:predicted_tokens_seconds", "gauge", "Tokens of answers a second.",
      rate(state.predictedTokens, state.predictedSeconds))
    add("llamacpp:requests_processing", "gauge", "Requests that are being answered.", Double(running))
    add("llamacpp:requests_deferred", "gauge", "Requests that wait.", Double(waiting))
    add("llamacpp:n_busy_slots_per_decode", "gauge", "Answers in a decode step.", rate(sequences, Double(steps)))
    add(
      "limn_prompt_tokens_cached_total", "counter", "Prompt tokens that were kept from before.",
      Double(state.cachedTokens))
    add("limn_pictures_encoded_total", "counter", "Pictures that were encoded.", Double(state.pictures))
    add("limn_models_loaded", "gauge", "Models that are open.", Double(models))
    add("limn_peak_resident_bytes", "gauge", "The most memory that the process has had.", Double(memory))
    add("limn_queue_seconds", "Seconds in the queue.", state.waiting)
    add("limn_time_to_first_token_seconds", "From the question to the first token.", state.firstToken)
    add("limn_time_between_tokens_seconds", "Between two tokens of an answer, its mean.", state.betweenTokens)
    add("limn_answer_seconds", "Seconds of an answer.", state.whole)
    return lines.joined(separator: "\n") + "\n"
  }
}
