public import ArgumentParser
public import Limn

extension Overflow: ExpressibleByArgument {}

/// Options of `ask` and `chat` for generating an answer.
struct AnswerOptions: ParsableArguments {
  @Option(help: "System message: how the model should behave.")
  var system: String?

  @Option(help: ArgumentHelp("Maximum length of the answer, in tokens.", valueName: "n"))
  var maxTokens = 512

  @Option(help: ArgumentHelp("0: always the most likely token; higher: more varied.", valueName: "t"))
  var temperature = 0.0

  @Option(
    help: ArgumentHelp("Sample from the most likely tokens that together have this probability.", valueName: "p"))
  var topP = 1.0

  @Option(help: ArgumentHelp("Sample from the k most likely tokens; 0: all.", valueName: "k"))
  var topK = 0

  @Option(
    help: ArgumentHelp("Drop tokens below this share of the most likely one's probability.", valueName: "p")
  )
  var minP = 0.0

  @Option(help: ArgumentHelp("Above 1: tokens already in prompt or answer become less likely.", valueName: "r"))
  var repeatPenalty = 1.0

  @Option(help: ArgumentHelp("Subtract this from the logit of every token already generated.", valueName: "x"))
  var presencePenalty = 0.0

  @Option(
    help: ArgumentHelp("Subtract this from a token's logit for each time it was generated.", valueName: "x"))
  var frequencyPenalty = 0.0

  @Option(help: ArgumentHelp("Random seed: makes a varied answer repeatable.", valueName: "s"))
  var seed: UInt64?

  @Option(
    parsing: .unconditionalSingleValue, help: ArgumentHelp("Text that ends the answer.", valueName: "text"))
  var stop: [String] = []

  @Option(help: "What to do if a prompt does not fit the context: stop or truncate-middle.")
  var overflow: Overflow = .stop

  @Flag(help: "Reuse nothing from earlier turns and pictures; compute everything again.")
  var noCache = false

  @Flag(help: "Do not guess repeated text ahead; the answer is the same, but slower.")
  var noSpeculation = false

  @Flag(help: "Print how long each part took to standard error.")
  var stats = false

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    try require(maxTokens > 0, "--max-tokens must be 1 or more.")
    try require(temperature >= 0 && temperature.isFinite, "--temperature must be 0 or more.")
    try require((0...1).contains(topP) && topP > 0, "--top-p must be over 0 and at most 1.")
    try require(topK >= 0, "--top-k must be 0 or more.")
    try require((0...1).contains(minP), "--min-p must be between 0 and 1.")
    try require(repeatPenalty > 0 && repeatPenalty.isFinite, "--repeat-penalty must be over 0.")
    try require(presencePenalty.isFinite && frequencyPenalty.isFinite, "The penalties must be numbers.")
  }

  var generation: GenerationOptions {
    var options = GenerationOptions()
    options.sampling.temperature = temperature
    options.sampling.topP = topP
    options.sampling.topK = topK
    options.sampling.minP = minP
    options.sampling.repeatPenalty = repeatPenalty
    options.sampling.presencePenalty = presencePenalty
    options.sampling.frequencyPenalty = frequencyPenalty
    options.sampling.seed = seed
    options.maxTokens = maxTokens
    options.stops = stop
    options.overflow = overflow
    options.reuse = !noCache
    options.speculation = !noSpeculation
    return options
  }
}
