import Foundation
import LimnFiles
import LimnImage
public import LimnCore
import LimnTensor
import LimnText

/// What a model is, how limn will use it and why, and what about it is doubtful: what `limn show` says.
///
/// A checkpoint that does not open for answering is reported all the same, as far as its files can be read.
public struct ModelReport: Sendable {
  /// One line about the model.
  public struct Fact: Sendable {
    /// For machines: "language_model".
    public let key: String
    /// For people: "language model".
    public let title: String
    public let value: String
  }

  /// Something that is missing, or does not fit together.
  public struct Finding: Sendable {
    public enum Level: String, Sendable {
      /// Good to know; limn gets along with it.
      case note
      /// Answers may suffer.
      case warning
    }

    public let level: Level
    /// For machines: "chat_template".
    public let about: String
    /// A sentence without a full stop.
    public let what: String
    /// What to do about it, as an imperative.
    public let remedy: LimnError.Text
  }

  public let facts: [Fact]
  public let findings: [Finding]
  /// Why the model does not open for answering; nil: it does.
  public let problem: LimnError?

  /// - Parameter progress: is told what is done, and how far; not on the caller's thread.
  /// - Throws: `notFound` where there is nothing to report about; `interrupted` where the task is cancelled.
  public init(
    _ reference: String, options: LoadOptions = LoadOptions(),
    progress: @escaping @Sendable (OpeningProgress) -> Void = { _ in }
  ) async throws(LimnError) {
    self = try await OpeningWatch.run(report: progress) { watch throws(LimnError) in
      let parts = try ModelParts(found: options.location(of: reference), options, watch: watch)
      let report = ReportParts(parts, parts.survey!)
      return ModelReport(facts: report.facts, findings: report.findings, problem: parts.problem)
    }
  }

  private init(facts: [Fact], findings: [Finding], problem: LimnError?) {
    self.facts = facts
    self.findings = findings
    self.problem = problem
  }
}

/// The parts of a model, as many of them as can be had.
struct ReportParts {
  let parts: ModelParts
  let survey: CheckpointSurvey
  var reference: String { parts.location.model }

  init(_ parts: ModelParts, _ survey: CheckpointSurvey) {
    self.parts = parts
    self.survey = survey
  }

  var checkpoint: Checkpoint? { parts.checkpoint }
  var config: ModelConfig? { parts.config }
  var tokenizer: Tokenizer? { parts.tokenizer }
  var conversation: ConversationFormat? { parts.conversation }
  var processor: ModelImageProcessor? { parts.processor }
  var model: Llava? { parts.model }
}

// MARK: Facts

extension ReportParts {
  var facts: [ModelReport.Fact] {
    var facts: [ModelReport.Fact] = []
    func add(_ title: String, _ value: String?) {
      guard let value, !value.isEmpty else { return }
      let key = title.replacingOccurrences(of: " ", with: "_")
      facts.append(.init(key: key, title: title, value: value))
    }
    add("model", parts.name)
    add("location", reference)
    add("layout", checkpoint.map { Self.layout($0.layout) })
    add("put together with", checkpoint?.parts.joined(separator: ", "))
    add("language model", config.map { Self.describe($0.language) })
    add("vision tower", config.map(towerLine))
    add("projector", config.flatMap(projectorLine))
    add("parameters", parameters)
    add("files", files)
    add("types", types)
    add("vocabulary", vocabulary)
    add("context", config.map { contextLine($0.language) })
    add("pictures", config.flatMap { $0.vision == nil ? nil : picturesLine($0) })
    add("image token", config.flatMap { $0.vision == nil ? nil : imageTokenLine($0) })
    add("image processor", processorLine)
    add("preprocessing", processor.flatMap { config?.vision == nil ? nil : "\($0.policy.rawValue): \($0.reason)" })
    add("chat template", conversation.map(\.explanation))
    add("answers end with", endTokens)
    return facts
  }

  private static func layout(_ layout: Checkpoint.Layout) -> String {
    switch layout {
    case .huggingFace: "Hugging Face"
    case .original: "original LLaVA"
    case .gguf: "GGUF"
    case .xtuner: "xtuner"
    case .llavaPhi: "LLaVA-Phi"
    }
  }

  private static func describe(_ language: LanguageConfig) -> String {
    "\(language.architecture.rawValue), \(language.layers) layers × \(language.hidden), \(language.heads) heads "
      + "(\(language.kvHeads) for keys and values) of \(language.headSize), feed-forward \(language.ffn)"
  }

  private func towerLine(_ config: ModelConfig) -> String {
    guard let vision = config.vision else {
      return survey.tower.map { "\($0), which is not there" } ?? "none: this checkpoint cannot look at pictures"
    }
    return "\(vision.family.rawValue), \(vision.layers) layers × \(vision.hidden), "
      + "\(vision.imageSize) × \(vision.imageSize) pixels in patches of \(vision.patchSize)"
  }

  private func projectorLine(_ config: ModelConfig) -> String? {
    guard config.vision != nil, let projector = config.projector else { return nil }
    let layers = config.featureLayers.map(String.init).joined(separator: ", ")
    let norms = projector.inputNorm != nil || projector.layerNorms != nil ? " with norms" : ""
    return "MLP\(norms), reads layer\(config.featureLayers.count == 1 ? "" : "s") \(layers)"
  }

  private func picturesLine(_ config: ModelConfig) -> String {
    switch config.family {
    case .llavaNext: "LLaVA-NeXT: an overview and tiles, \(config.gridPinpoints.count) grids"
    case .llava: "one tile, \(model?.vision.map { "\($0.tower.featureCount) tokens" } ?? "tokens unknown")"
    }
  }

  private func imageTokenLine(_ config: ModelConfig) -> String {
    guard let id = config.imageTokenID else { return "none: pictures stand between pieces of text" }
    return tokenizer.map { $0.named(id) } ?? "\(id)"
  }

  private var processorLine: String? {
    guard let configuration = processor?.processor.configuration, config?.vision != nil else { return nil }
    let size = configuration.modelSize
    let kinds: [ImageProcessor.Configuration.Kind: String] = [
      .clip: "CLIP", .siglip: "SigLIP", .llava: "LLaVA", .llavaNext: "LLaVA-NeXT",
    ]
    let inside = checkpoint?.processorConfig == nil ? nil : "the vision tower's folder"
    let place = survey.processorPlace ?? inside
    return "\(kinds[configuration.kind] ?? "")'s, \(size.width) × \(size.height), "
      + (place.map { "from \($0)" } ?? "its usual numbers, for no file says others")
  }

  private var vocabulary: String? {
    guard let rows = config?.language.vocabulary else { return nil }
    return "\(rows) tokens" + (tokenizer.map { " (the tokenizer knows \($0.vocabularySize))" } ?? "")
  }

  /// What keys and values of a full context take, as `fast` keeps them.
  private func contextLine(_ language: LanguageConfig) -> String {
    let context = language.usualContext
    let perToken = 2 * language.layers * language.kvHeads * KVType.f16.bytes(headSize: language.headSize)
    return "\(context) tokens, \(byteCount(perToken * context)) of memory when full "
      + "(trained for \(language.maxPositions))"
  }

  private var endTokens: String? {
    guard let tokenizer else { return nil }
    return stopIDs.sorted().map(tokenizer.named).joined(separator: ", ")
  }

  /// Everything that ends an answer.
  var stopIDs: Set<Int> {
    (tokenizer?.endOfGenerationIDs ?? []).union(checkpoint?.endOfGenerationIDs ?? survey.endOfGenerationIDs)
  }

  // MARK: Sizes

  private var files: String? {
    guard !survey.files.isEmpty else { return nil }
    let names = survey.files.prefix(2).map { $0.path.split(separator: "/").last.map(String.init) ?? $0.path }
    return "\(byteCount(survey.files.reduce(0) { $0 + $1.bytes })) in "
      + (survey.files.count > 2 ? "\(survey.files.count) files" : names.joined(separator: " and "))
  }

  /// "4.14 billion: language model 3.82 billion, vision tower 304 million, projector 22 million"
  private var parameters: String? {
    var counts: [String: Int] = [:]
    let named: [(String?, Int)] =
      checkpoint.map { $0.weights.map { ($0.key, $0.value.count) } }
      ?? survey.tensors.map { ($0.modelName, $0.tensor.count) }
    for case (let name?, let count) in named {
      // What bitsandbytes keeps beside a weight is none of its own.
      guard !name.contains(".weight."), !name.hasSuffix("SCB"), !name.hasSuffix("weight_format") else { continue }
      let part = name.hasPrefix("vision_tower.") ? "vision tower"
        : name.hasPrefix("multi_modal_projector.") || name == "image_newline" ? "projector" : "language model"
      counts[part, default: 0] += count
    }
    guard !counts.isEmpty else { return nil }
    let parts = ["language model", "vision tower", "projector"].compactMap { part in
      counts[part].map { "\(part) \(roundedCount($0))" }
    }
    return roundedCount(counts.values.reduce(0, +)) + (parts.count > 1 ? ": " + parts.joined(separator: ", ") : "")
  }

  /// "Q4_K: 193 tensors, 1.86 GB; F32: 66, 0.8 MB"
  private var types: String? {
    var sizes: [String: (tensors: Int, bytes: Int)] = [:]
    let tensors =
      checkpoint?.weights.values.map { ($0.typeName, $0.byteCount) }
      ?? survey.tensors.map { ($0.tensor.type.rawValue, $0.tensor.range.count) }
    for (type, bytes) in tensors {
      sizes[type, default: (0, 0)].tensors += 1
      sizes[type, default: (0, 0)].bytes += bytes
    }
    return sizes.sorted { ($0.value.bytes, $0.key) > ($1.value.bytes, $1.key) }.map { type, size in
      "\(type): \(size.tensors) tensor\(size.tensors == 1 ? "" : "s"), \(byteCount(size.bytes))"
    }.joined(separator: "; ")
  }
}

private func byteCount(_ bytes: Int) -> String {
  switch bytes {
  case (1 << 30)...: String(format: "%.2f GB", Double(bytes) / Double(1 << 30))
  case (1 << 20)...: String(format: "%.1f MB", Double(bytes) / Double(1 << 20))
  default: String(format: "%.1f KB", Double(bytes) / Double(1 << 10))
  }
}

private func roundedCount(_ count: Int) -> String {
  switch count {
  case 1_000_000_000...: String(format: "%.2f billion", Double(count) / 1e9)
  case 1_000_000...: String(format: "%.0f million", Double(count) / 1e6)
  default: "\(count)"
  }
}

extension Tokenizer {
  /// "<|end|> (32007)", or the id alone.
  func named(_ id: Int) -> String { piece(id).map { "\($0) (\(id))" } ?? "\(id)" }
}

extension ConversationFormat {
  /// Which template it is, and why.
  var explanation: String {
    switch origin {
    case .named: "\(builtInName ?? ""), as asked for"
    case .checkpoint(let file, true): "the checkpoint's own, from \(file)"
    case .checkpoint(let file, false): "the checkpoint's own, from \(file); made for text, so pictures go before it"
    case .chosen(let evidence): "\(builtInName ?? ""), \(evidence.words)"
    }
  }
}

extension BuiltInTemplate.Evidence {
  var words: String {
    switch self {
    case .tokens(let tokens): "recognised by the vocabulary's \(tokens.joined(separator: " and "))"
    case .name(let part): "recognised by \"\(part)\" in the checkpoint's name"
    case .architecture(let name): "the usual one of \(name)"
    case .none: "LLaVA's own, for nothing tells another"
    }
  }
}
