package import LimnCore
package import LimnFiles
package import LimnTensor
package import LimnText

/// A model's parts, opened in the one order that every command shares, so that all meet the same first problem.
package struct ModelParts: Sendable {
  /// What the weights are opened for.
  package enum Purpose: Sendable {
    /// To compute with them.
    case answering
    /// To see whether all are there and fit the config: nothing is put together, and quantised only where asked for.
    case checking
  }

  package let location: ModelLocation
  package private(set) var checkpoint: Checkpoint?
  /// Longest prompt and answer together, in positions.
  package private(set) var context: Int?
  package private(set) var tokenizer: Tokenizer?
  package private(set) var conversation: ConversationFormat?
  package private(set) var processor: ModelImageProcessor?
  package private(set) var model: Llava?
  /// What `model` computes with.
  package private(set) var backend: CPU?
  /// What the files show of themselves; only where parts may be missing.
  package let survey: CheckpointSurvey?
  /// The first reason why a part is missing; nil: nothing that was asked for is.
  package private(set) var problem: LimnError?

  private let options: LoadOptions
  private let purpose: Purpose

  /// Opens a model.
  /// - Parameter steps: the ones that are made; all but the tokenizer's need `files`.
  /// - Throws: the first problem.
  package init(
    _ location: ModelLocation, _ options: LoadOptions = LoadOptions(),
    steps: Set<OpeningStep> = Set(OpeningStep.allCases), for purpose: Purpose = .answering,
    watch: OpeningWatch = OpeningWatch()
  ) throws(LimnError) {
    self.init(try location.resolved(), options, purpose, survey: nil)
    for step in OpeningStep.allCases where steps.contains(step) { try open(step, watch) }
  }

  /// Opens as much of a model as can be had, and notes the first problem.
  /// - Throws: `notFound`, where there is nothing at all; `interrupted`.
  package init(
    found location: ModelLocation, _ options: LoadOptions = LoadOptions(), watch: OpeningWatch = OpeningWatch()
  ) throws(LimnError) {
    let location = try location.resolved()
    self.init(location, options, .checking, survey: try CheckpointSurvey(location))
    for step in OpeningStep.allCases {
      do {
        try open(step, watch)
      } catch {
        if error.kind == .interrupted { throw error }
        if problem == nil { problem = error }
      }
    }
  }

  private init(_ location: ModelLocation, _ options: LoadOptions, _ purpose: Purpose, survey: CheckpointSurvey?) {
    self.location = location
    self.options = options
    self.purpose = purpose
    self.survey = survey
  }

  /// A part that was asked for.
  package func require<Part>(_ part: Part?) throws(LimnError) -> Part {
    if let part { return part }
    throw problem ?? LimnError(.defect, "a part of the model was not opened", in: location.model)
  }

  /// What the checkpoint says, or its config alone where it does not open.
  package var config: ModelConfig? { checkpoint?.config ?? survey?.config }

  /// What the files, not the tokens' names, say ends an answer.
  var endIDs: Set<Int> { (checkpoint?.endOfGenerationIDs ?? []).union(survey?.endOfGenerationIDs ?? []) }

  /// Everything that ends an answer.
  var stopIDs: Set<Int> {
    (tokenizer?.endOfGenerationIDs ?? []).union(checkpoint?.endOfGenerationIDs ?? survey?.endOfGenerationIDs ?? [])
  }

  /// Whether the model is a GGUF file, not a folder.
  var isFile: Bool { !Folder.isDirectory(location.model) }

  /// The file or key that names what ends an answer, for a remedy.
  var endOfGenerationPlace: String {
    isFile ? "tokenizer.ggml.eos_token_id" : "eos_token_id in generation_config.json"
  }

  /// The folder's or file's name.
  package var name: String {
    checkpoint?.name ?? location.model.split(separator: "/").last.map(String.init) ?? location.model
  }
}

// MARK: Steps

extension ModelParts {
  private mutating func open(_ step: OpeningStep, _ watch: OpeningWatch) throws(LimnError) {
    do throws(LimnError) {
      try make(step, watch)
    } catch {
      throw error.ofModel
    }
  }

  /// Makes a step, unless an earlier one did not give what it needs.
  private mutating func make(_ step: OpeningStep, _ watch: OpeningWatch) throws(LimnError) {
    try watch.reached(0, of: step)
    switch step {
    case .files:
      let checkpoint = try Checkpoint.open(location).with(adapters: options.adapters)
      self.checkpoint = checkpoint
      context = try context(of: checkpoint.config.language)
    case .tokenizer: tokenizer = try Tokenizer(try tokenizerSource)
    case .conversation:
      guard let tokenizer else { return }
      conversation = try ConversationFormat(
        try tokenizerSource, tokenizer, architecture: config?.language.architecture.rawValue, name: name,
        template: options.template)
    case .imageProcessor:
      guard let checkpoint else { return }
      processor = try ModelImageProcessor(checkpoint, policy: options.preprocess)
    case .weights:
      guard let checkpoint, let context else { return }
      (model, backend) = try weights(of: checkpoint, context, watch)
    }
    try watch.reached(1, of: step)
  }

  private func context(of language: LanguageConfig) throws(LimnError) -> Int {
    let context = options.context ?? language.usualContext
    let longest = min(max(language.maxPositions, 1 << 17), 1 << 20)
    guard (1...longest).contains(context) else {
      throw LimnError(
        .usage, "the context has an impossible length", expected: "1…\(longest)", found: "\(context)")
    }
    return context
  }

  private var tokenizerSource: TokenizerSource {
    get throws(LimnError) { if let checkpoint { checkpoint.tokenizer } else { try TokenizerSource.open(location) } }
  }

  private func weights(
    of checkpoint: Checkpoint, _ context: Int, _ watch: OpeningWatch
  ) throws(LimnError) -> (Llava, CPU) {
    switch purpose {
    case .answering:
      let cpu = try CPU(threads: options.threads, precision: options.precision)
      let model = try Llava(checkpoint, context: context, quantization: options.quantization, cpu: cpu, watch: watch)
      return (model, cpu)
    case .checking:
      let quantizes = options.quantization != nil
      let cpu = try CPU(threads: quantizes ? options.threads : 1, precision: .exact)
      // The shortest rotary tables will do.
      let model = try Llava(
        checkpoint, context: 1, quantization: options.quantization, cpu: cpu, checksOnly: !quantizes, watch: watch)
      return (model, cpu)
    }
  }
}

extension LanguageConfig {
  /// The context without a wish for another: the trained one, at most 8,192 positions.
  var usualContext: Int {
    // Dynamic scaling is made to reach beyond the trained length.
    let reach =
      if case .dynamic(let factor) = ropeScaling {
        Int((Double(maxPositions) * max(1, min(factor, 64))).rounded())
      } else { maxPositions }
    return min(reach, 8192)
  }
}
