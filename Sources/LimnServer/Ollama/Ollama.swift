import Foundation
import HTTPTypes
import Hummingbird
import Limn
import LimnCore

/// What all of Ollama's endpoints share.
package enum Ollama {
  static func error(_ refusal: Refusal) -> JSON { .object(["error": .string(refusal.message)]) }

  static func add(to routes: Routes, _ server: Services) {
    OllamaAnswers.add(to: routes, server)
    OllamaModels.add(to: routes, server)
    OllamaEmbeddings.add(to: routes, server)
    let reason = "this server does not change which models are on the computer"
    routes.refuse(.post, "/api/pull", "Fetch a model.", because: reason)
    routes.refuse(.post, "/api/push", "Publish a model.", because: reason)
    routes.refuse(.post, "/api/create", "Make a model.", because: reason)
    routes.refuse(.post, "/api/copy", "Copy a model.", because: reason)
    routes.refuse(.delete, "/api/delete", "Delete a model.", because: reason)
  }

  /// RFC 3339 with fractions.
  static func time(_ date: Date) -> JSON {
    .string(date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
  }

  static func nanoseconds(_ milliseconds: Double) -> JSON { .integer(Int((milliseconds * 1e6).rounded())) }

  /// Ollama's names end in a tag.
  static func name(_ id: String) -> JSON { .string(id.contains(":") ? id : id + ":latest") }

  /// The members of `options`; what limn does not know is ignored, as it is there.
  static func options(_ fields: RequestFields, into job: inout AnswerJob) throws(Refusal) {
    job.keepAlive = try keepAlive(fields)
    job.options.format = try format(fields)
    guard let options = try fields.object("options") else { return }
    var sampling = Sampling()
    sampling.temperature = try options.double("temperature", in: 0...100) ?? 0
    sampling.topK = max(0, try options.int("top_k", in: -1...Int(Int32.max)) ?? 0)
    sampling.topP = max(1e-9, try options.double("top_p", in: 0...1) ?? 1)
    sampling.minP = try options.double("min_p", in: 0...1) ?? 0
    sampling.repeatPenalty = try options.double("repeat_penalty", in: 0.01...100) ?? 1
    sampling.presencePenalty = try options.double("presence_penalty", in: -100...100) ?? 0
    sampling.frequencyPenalty = try options.double("frequency_penalty", in: -100...100) ?? 0
    sampling.seed = try OpenAI.seed(options)
    job.options.sampling = sampling
    job.options.stops = try options.strings("stop", atMost: 16) ?? []
    // −1: no limit, −2: as long as the context allows, which is the same here.
    if let most = try options.int("num_predict", in: -2...Int(Int32.max)), most > 0 { job.options.maxTokens = most }
  }

  private static func format(_ fields: RequestFields) throws(Refusal) -> AnswerFormat {
    guard let format = fields.value("format") else { return .text }
    if let word = format.string {
      if word.isEmpty { return .text }
      guard word == "json" else { throw fields.wrong("format", "json or a JSON schema") }
      return .jsonObject
    }
    guard format.object != nil else { throw fields.wrong("format", "json or a JSON schema") }
    return .json(schema: format.serialised())
  }

  /// Seconds, or "5m"; negative: forever.
  package static func keepAlive(_ fields: RequestFields) throws(Refusal) -> KeepAlive? {
    guard let value = fields.value("keep_alive") else { return nil }
    let seconds: Double?
    if let text = value.string { seconds = duration(text) } else { seconds = value.double }
    guard let seconds, seconds.isFinite, seconds <= 1e10 else {
      throw fields.wrong("keep_alive", "seconds, or text such as 5m")
    }
    return seconds < 0 ? .forever : .seconds(seconds)
  }

  /// "1h30m", "-1", "500ms", in seconds.
  private static func duration(_ text: String) -> Double? {
    if let number = Double(text) { return number }
    var rest = Substring(text)
    let sign: Double = rest.hasPrefix("-") ? -1 : 1
    if rest.hasPrefix("-") { rest.removeFirst() }
    guard !rest.isEmpty else { return nil }
    var sum = 0.0
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isNumber || $0 == "." }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(unit.count)
      let units = ["h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9]
      guard let number = Double(digits), let size = units[String(unit)] else { return nil }
      sum += number * size
    }
    return sign * sum
  }
}
