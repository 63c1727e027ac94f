public import ArgumentParser
import Foundation
public import Limn
import LimnFiles
public import LimnImage
public import LimnTensor

extension Precision: ExpressibleByArgument {}
extension KVType: ExpressibleByArgument {}
extension PreprocessPolicy: ExpressibleByArgument {}
extension Overflow: ExpressibleByArgument {}
extension Quantization.Format: ExpressibleByArgument {}

/// Which model, and its files.
struct ModelReference: ParsableArguments {
  @Option(help: "A model: a folder, or a .gguf file. Default: $LIMN_MODEL, else the demo model.")
  var model: String?

  @Option(help: ArgumentHelp("The projector of a .gguf model, if it is not beside it.", valueName: "file"))
  var mmproj: String?

  @Option(
    help: ArgumentHelp("The model that an adapter (LoRA) or a projector belongs to.", valueName: "folder"))
  var base: String?

  @Option(help: "Quantise linear layers while opening, as bitsandbytes does: nf4, fp4, int8.")
  var quantize: Quantization.Format?

  @Flag(help: "With nf4 or fp4: quantise the scales too.")
  var doubleQuant = false

  @Option(
    help: ArgumentHelp(
      "With --quantize: modules to leave as they are, such as vision_tower; the output head always is.",
      valueName: "name,…"))
  var skip: String?

  func validate() throws {
    if doubleQuant && (quantize == nil || quantize == .int8) {
      throw ValidationError("--double-quant goes with --quantize nf4 or fp4.")
    }
    if skip != nil && quantize == nil { throw ValidationError("--skip goes with --quantize.") }
  }

  /// What --quantize and its companions ask for.
  var quantization: Quantization? {
    quantize.map {
      Quantization(
        $0, isDouble: doubleQuant, skip: (skip ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
    }
  }

  var isDemo: Bool { chosen == nil }

  private var chosen: String? {
    if let model { return model }
    let fromEnvironment = ProcessInfo.processInfo.environment["LIMN_MODEL"]
    return fromEnvironment?.isEmpty == false ? fromEnvironment : nil
  }

  var reference: String {
    get throws { try chosen ?? DemoModel.path() }
  }

  var location: ModelLocation {
    get throws { ModelLocation(try reference, projector: mmproj, base: base) }
  }

  /// Says once that the demo model answers because no other was named.
  func warnAboutDemo() {
    guard isDemo else { return }
    Terminal.error(
      Terminal.dimmed(
        "limn: the demo model answers; it knows drawn scenes only. Name a real one: "
          + "--model FOLDER or --model FILE.gguf (or LIMN_MODEL)"))
  }
}

/// How pictures are brought to the model's size.
struct PreprocessOptions: ParsableArguments {
  @Option(
    help: "trained: as the model was trained; hf: as its preprocessor_config.json says; crop, pad, stretch.")
  var preprocess: PreprocessPolicy = .trained
}

struct ComputeOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Threads; default: all cores that this process may use.", valueName: "n"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      "How the conversation so far is kept: f16 (the default; f32 with --compute exact), or q8_0, which takes "
        + "half the memory and half the reading of long conversations, at a small cost in exactness.",
      valueName: "type"))
  var kvType: KVType?

  func validate() throws {
    if let threads, !(1...CPU.maxThreads).contains(threads) {
      throw ValidationError("--threads must be between 1 and \(CPU.maxThreads).")
    }
  }
}

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

  @Option(help: ArgumentHelp("auto, or: \(Limn.templateNames.joined(separator: ", ")).", valueName: "name"))
  var template = "auto"

  @Option(name: .customLong("compute"), help: "exact: float32 throughout; fast: may round activations.")
  var precision: Precision = .fast

  @Option(help: ArgumentHelp("Longest prompt and answer together, in tokens.", valueName: "n"))
  var context: Int?

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
    try require(context.map { $0 > 0 } ?? true, "--context must be 1 or more.")
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

  func load(
    _ model: ModelReference, _ preprocess: PreprocessOptions, _ compute: ComputeOptions
  ) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.precision = precision
    options.threads = compute.threads
    options.kvType = compute.kvType
    options.context = context
    options.projectorFile = model.mmproj
    options.base = model.base
    options.quantization = model.quantization
    options.template = template
    options.preprocess = preprocess.preprocess
    Terminal.progress("opening the model")
    defer { Terminal.endProgress() }
    return try await VisionLanguageModel.load(model.reference, options: options)
  }
}
