public import ArgumentParser
public import Limn
import LimnCore

extension Overflow: ExpressibleByArgument {}

/// Options of `ask` and `chat` for generating an answer.
struct AnswerOptions: ParsableArguments {
  @OptionGroup(title: "Answer options") var text: TextOptions
  @OptionGroup(title: "Sampling options") var sampling: SamplingOptions

  @Flag(help: "Print how long each part took to standard error.")
  var stats = false

  var system: String? { text.system }

  var generation: GenerationOptions {
    var options = GenerationOptions()
    options.sampling.temperature = sampling.temperature
    options.sampling.topP = sampling.topP
    options.sampling.topK = sampling.topK
    options.sampling.minP = sampling.minP
    options.sampling.repeatPenalty = sampling.repeatPenalty
    options.sampling.presencePenalty = sampling.presencePenalty
    options.sampling.frequencyPenalty = sampling.frequencyPenalty
    options.sampling.seed = sampling.seed
    options.maxTokens = text.maxTokens
    options.stops = text.stop
    options.overflow = text.overflow
    options.reuse = !text.noCache
    options.speculation = !text.noSpeculation
    return options
  }

  // MARK: Changes in a conversation

  /// An option that `/set` changes.
  struct Setting {
    let name: String
    let value: (AnswerOptions) -> String
    fileprivate let copy: (AnswerOptions, inout AnswerOptions) -> Void

    fileprivate init<Value>(
      _ name: String, _ path: WritableKeyPath<AnswerOptions, Value>,
      _ text: @escaping (Value) -> String = { "\($0)" }
    ) {
      self.name = name
      value = { text($0[keyPath: path]) }
      copy = { $1[keyPath: path] = $0[keyPath: path] }
    }
  }

  static var settings: [Setting] {
    [
      Setting("max-tokens", \.text.maxTokens), Setting("stop", \.text.stop) { $0.joined(separator: ", ") },
      Setting("overflow", \.text.overflow) { $0.rawValue },
      Setting("temperature", \.sampling.temperature), Setting("top-p", \.sampling.topP),
      Setting("top-k", \.sampling.topK), Setting("min-p", \.sampling.minP),
      Setting("repeat-penalty", \.sampling.repeatPenalty),
      Setting("presence-penalty", \.sampling.presencePenalty),
      Setting("frequency-penalty", \.sampling.frequencyPenalty),
      Setting("seed", \.sampling.seed) { $0.map(String.init) ?? "none" },
    ]
  }

  /// Changes the option that the command line calls `--name`.
  /// - Throws: `usage`, as the command line refuses it.
  mutating func set(_ name: String, to value: String) throws(LimnError) {
    let name = name.lowercased().replacing("_", with: "-")
    guard let setting = Self.settings.first(where: { $0.name == name }) else {
      throw LimnError(
        .usage, "there is no setting \(name)", expected: Self.settings.map(\.name).joined(separator: ", "))
    }
    do {
      setting.copy(try Self.parse(["--\(name)=\(value)"]), &self)
    } catch {
      let reason = Self.message(for: error)
      throw LimnError(.usage, LimnError.Text(reason.isEmpty ? "\(value) is no value for \(name)" : reason))
    }
  }
}

/// What an answer is made from, and how long it may be.
struct TextOptions: ParsableArguments {
  @Option(
    name: .shortAndLong, parsing: .unconditional,
    help: ArgumentHelp("System message: how the model should behave.", valueName: "text"))
  var system: String?

  @Option(
    name: [.long, .customShort("n")],
    help: ArgumentHelp("Maximum length of the answer, in tokens.", valueName: "count"))
  var maxTokens = 512

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Text that ends the answer; may be repeated.", valueName: "text"))
  var stop: [String] = []

  @Option(
    help: ArgumentHelp("What to do if a prompt does not fit the context: stop or truncate-middle.", valueName: "way"))
  var overflow: Overflow = .stop

  @Flag(help: "Reuse nothing from earlier turns and pictures; compute everything again.")
  var noCache = false

  @Flag(help: "Do not guess repeated text ahead; the answer is the same, but slower.")
  var noSpeculation = false

  func validate() throws {
    if maxTokens < 1 { throw ValidationError("--max-tokens must be 1 or more.") }
  }
}

/// How tokens are chosen.
struct SamplingOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("0: always the most likely token; higher: more varied.", valueName: "number"))
  var temperature = 0.0

  @Option(
    help: ArgumentHelp("Sample from the most likely tokens that together have this probability.", valueName: "share"))
  var topP = 1.0

  @Option(help: ArgumentHelp("Sample from the k most likely tokens; 0: all.", valueName: "count"))
  var topK = 0

  @Option(
    help: ArgumentHelp("Drop tokens below this share of the most likely one's probability.", valueName: "share"))
  var minP = 0.0

  @Option(
    help: ArgumentHelp("Above 1: tokens already in prompt or answer become less likely.", valueName: "factor"))
  var repeatPenalty = 1.0

  @Option(
    help: ArgumentHelp("Subtract this from the logit of every token already generated.", valueName: "number"))
  var presencePenalty = 0.0

  @Option(
    help: ArgumentHelp("Subtract this from a token's logit for each time it was generated.", valueName: "number"))
  var frequencyPenalty = 0.0

  @Option(help: ArgumentHelp("Random seed: makes a varied answer repeatable.", valueName: "number"))
  var seed: UInt64?

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    try require(temperature >= 0 && temperature.isFinite, "--temperature must be 0 or more.")
    try require((0...1).contains(topP) && topP > 0, "--top-p must be over 0 and at most 1.")
    try require(topK >= 0, "--top-k must be 0 or more.")
    try require((0...1).contains(minP), "--min-p must be between 0 and 1.")
    try require(repeatPenalty > 0 && repeatPenalty.isFinite, "--repeat-penalty must be over 0.")
    try require(presencePenalty.isFinite && frequencyPenalty.isFinite, "The penalties must be numbers.")
  }
}
