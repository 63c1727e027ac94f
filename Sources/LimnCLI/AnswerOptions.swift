public import ArgumentParser
public import Limn

extension Overflow: ExpressibleByArgument {}

/// What `ask` and `chat` share: how an answer is generated.
struct AnswerOptions: ParsableArguments {
  @Option(help: "A system text: how the model should behave.")
  var system: String?

  @Option(help: ArgumentHelp("Longest answer, in tokens.", valueName: "n"))
  var maxTokens = 512

  @Option(help: ArgumentHelp("0: always the likeliest word; higher: more varied.", valueName: "t"))
  var temperature = 0.0

  @Option(
    help: ArgumentHelp("Choose among the likeliest words that together reach this share.", valueName: "p"))
  var topP = 1.0

  @Option(help: ArgumentHelp("Choose among the k likeliest words; 0: all.", valueName: "k"))
  var topK = 0

  @Option(
    help: ArgumentHelp("Leave out words under this share of the likeliest one's probability.", valueName: "p")
  )
  var minP = 0.0

  @Option(help: ArgumentHelp("Over 1: words said before become less likely.", valueName: "r"))
  var repeatPenalty = 1.0

  @Option(help: ArgumentHelp("Taken from the score of a word that was said.", valueName: "x"))
  var presencePenalty = 0.0

  @Option(
    help: ArgumentHelp("Taken from the score of a word for each time that it was said.", valueName: "x"))
  var frequencyPenalty = 0.0

  @Option(help: ArgumentHelp("Makes a varied answer repeatable.", valueName: "s"))
  var seed: UInt64?

  @Option(
    parsing: .unconditionalSingleValue, help: ArgumentHelp("Text that ends the answer.", valueName: "text"))
  var stop: [String] = []

  @Option(help: "What to do with a prompt that does not fit: stop, or truncate-middle.")
  var overflow: Overflow = .stop

  @Flag(help: "Compute everything anew: nothing of earlier turns and pictures is reused.")
  var noCache = false

  @Flag(help: "Do not guess tokens ahead where the text repeats itself; the answer is the same, only slower.")
  var noSpeculation = false

  @Flag(help: "Say on standard error how long each part took.")
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
