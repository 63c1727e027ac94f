public import ArgumentParser
import Foundation
public import Limn
import LimnFiles
public import LimnImage
public import LimnTensor

extension Precision: ExpressibleByArgument {}
extension KVType: ExpressibleByArgument {}
extension PreprocessPolicy: ExpressibleByArgument {}
extension LoadQuantization.Format: ExpressibleByArgument {}

/// Options of every command that reads a model: the files that belong to it, and the number of threads.
struct SourceArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("The projector of a .gguf model, if it is not beside it.", valueName: "file"),
    completion: .file())
  var mmproj: String?

  @Option(
    help: ArgumentHelp("The model that an adapter (LoRA) or a projector belongs to.", valueName: "folder"),
    completion: .directory)
  var base: String?

  @Option(help: ArgumentHelp("Number of threads; default: all cores that this process may use.", valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, !(1...CPU.maxThreads).contains(threads) {
      throw ValidationError("--threads must be between 1 and \(CPU.maxThreads).")
    }
  }

  var options: LoadOptions {
    var options = LoadOptions()
    options.projectorFile = mmproj
    options.base = base
    options.threads = threads
    return options
  }

  func location(of model: String) -> ModelLocation { options.location(of: model) }
}

/// Options of every command that runs a model or parts of it: which model, and how to open it.
struct LoadArguments: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "A model: a folder, or a .gguf file. Default: $LIMN_MODEL, else the demo model.", valueName: "path"),
    completion: .file())
  var model: String?

  @OptionGroup var source: SourceArguments
  @OptionGroup var pictures: PictureArguments

  @Option(
    name: .customLong("adapter"),
    help: ArgumentHelp("An adapter (LoRA) to use on the model, unmerged: on any base.", valueName: "folder"),
    completion: .directory)
  var adapters: [String] = []

  @Option(
    help: ArgumentHelp(
      "Quantise linear layers while opening, as bitsandbytes does: nf4, fp4 or int8.", valueName: "type"))
  var quantize: LoadQuantization.Format?

  @Flag(help: "With nf4 or fp4: also quantise the scales.")
  var doubleQuant = false

  @Option(
    help: ArgumentHelp(
      "With --quantize: modules to leave unquantised, such as vision_tower; the output head always is.",
      valueName: "name,…"))
  var skip: String?

  @Option(help: ArgumentHelp("auto, or: \(Limn.templateNames.joined(separator: ", ")).", valueName: "name"))
  var template = "auto"

  @Option(
    help: ArgumentHelp(
      "How pictures become square. trained: as the model was trained; hf: as preprocessor_config.json says; or crop, "
        + "pad, stretch.",
      valueName: "way"))
  var preprocess: PreprocessPolicy = .trained

  @Option(
    name: .customLong("compute"),
    help: ArgumentHelp(
      "exact: float32 throughout (default of debug commands); fast: may round activations (default elsewhere).",
      valueName: "precision"))
  var precision: Precision?

  @Option(
    help: ArgumentHelp(
      "Type of the stored keys and values: f16 (the default; f32 with --compute exact), or q8_0, which takes "
        + "half the memory and reads half as much in long conversations, at a small cost in accuracy.",
      valueName: "type"))
  var kvType: KVType?

  @Option(help: ArgumentHelp("Maximum length of prompt and answer together, in tokens.", valueName: "n"))
  var context: Int?

  func validate() throws {
    if doubleQuant && (quantize == nil || quantize == .int8) {
      throw ValidationError("--double-quant goes with --quantize nf4 or fp4.")
    }
    if skip != nil && quantize == nil { throw ValidationError("--skip goes with --quantize.") }
    if let context, context < 1 { throw ValidationError("--context must be 1 or more.") }
  }

  var options: LoadOptions {
    var options = source.options
    options.quantization = quantize.map {
      LoadQuantization(
        $0, isDouble: doubleQuant,
        skip: (skip ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
    }
    options.adapters = adapters
    options.template = template
    options.preprocess = preprocess
    options.images = pictures.options
    if let precision { options.precision = precision }
    options.kvType = kvType
    options.context = context
    return options
  }

  // MARK: The model

  private var chosen: String? {
    if let model { return model }
    let fromEnvironment = ProcessInfo.processInfo.environment["LIMN_MODEL"]
    return fromEnvironment?.isEmpty == false ? fromEnvironment : nil
  }

  var reference: String {
    get throws { try chosen ?? DemoModel.path() }
  }

  var location: ModelLocation {
    get throws { source.location(of: try reference) }
  }

  /// Opens the model, with progress on a terminal.
  /// - Parameter options: nil: the command's own.
  func load(_ options: LoadOptions? = nil) async throws -> VisionLanguageModel {
    let options = options ?? self.options
    defer { Terminal.endProgress() }
    return try await VisionLanguageModel.load(try reference, options: options) {
      Terminal.progress($0.line(quantizes: options.quantization != nil))
    }
  }

  /// Tells the user that the demo model answers because no other was named.
  func warnAboutDemo() {
    guard chosen == nil else { return }
    Terminal.note(
      "limn: the demo model answers; it knows drawn scenes only. Name a real one: "
        + "--model FOLDER or --model FILE.gguf (or LIMN_MODEL)")
  }
}

extension OpeningProgress {
  /// The progress line for a terminal.
  func line(quantizes: Bool) -> String {
    guard step == .weights else { return "opening the model" }
    return "\(quantizes ? "quantising" : "reading") the weights \(Int(fraction * 100)) %"
  }
}
