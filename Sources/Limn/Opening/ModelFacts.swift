import Foundation
import LimnFiles
import LimnImage
import LimnTensor
import LimnText

/// The lines that `limn show` prints about a model: its numbers and the reasons behind them, in words.
struct ModelFacts {
  let parts: ModelParts
  let summary: ModelSummary

  var all: [ModelReport.Fact] {
    let lines: [(key: String, title: String, value: String?)] = [
      ("model", "model", summary.name),
      ("location", "location", parts.location.model),
      ("layout", "layout", parts.checkpoint.map { Self.layout($0.layout) }),
      ("put_together_with", "put together with", summary.parts.joined(separator: ", ")),
      ("language_model", "language model", summary.language.map(Self.line)),
      ("vision_tower", "vision tower", tower),
      ("projector", "projector", summary.projector.map(Self.line)),
      ("parameters", "parameters", parameters),
      ("files", "files", files),
      ("types", "types", types),
      ("vocabulary", "vocabulary", vocabulary),
      ("context", "context", context),
      ("pictures", "pictures", summary.images.map(Self.line)),
      ("image_token", "image token", summary.images.map(imageToken)),
      ("image_processor", "image processor", processor),
      ("preprocessing", "preprocessing", preprocessing),
      ("chat_template", "chat template", parts.conversation.map(\.explanation)),
      ("answers_end_with", "answers end with", endTokens),
    ]
    return lines.compactMap { key, title, value in
      value.flatMap { $0.isEmpty ? nil : ModelReport.Fact(key: key, title: title, value: $0) }
    }
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

  // MARK: Parts

  private static func line(_ model: ModelSummary.Language) -> String {
    "\(model.architecture), \(model.layers) layers × \(model.hidden), \(model.heads) heads "
      + "(\(model.kvHeads) for keys and values) of \(model.headSize), feed-forward \(model.ffn)"
  }

  private var tower: String? {
    guard let vision = summary.vision else {
      guard parts.config != nil else { return nil }
      return parts.survey?.tower.map { "\($0), which is not there" } ?? "none: this checkpoint cannot look at pictures"
    }
    return "\(vision.family), \(vision.layers) layers × \(vision.hidden), "
      + "\(vision.imageSize) × \(vision.imageSize) pixels in patches of \(vision.patchSize)"
  }

  private static func line(_ projector: ModelSummary.Projector) -> String {
    let layers = projector.featureLayers.map(String.init).joined(separator: ", ")
    return "MLP\(projector.hasNorms ? " with norms" : ""), "
      + "reads layer\(projector.featureLayers.count == 1 ? "" : "s") \(layers)"
  }

  private static func line(_ images: ModelSummary.Images) -> String {
    images.isTiled
      ? "LLaVA-NeXT: an overview and tiles, \(images.grids.count) grids" : "one tile, \(images.tokensPerTile) tokens"
  }

  private func imageToken(_ images: ModelSummary.Images) -> String {
    images.token?.description ?? "none: pictures stand between pieces of text"
  }

  private var processor: String? {
    guard let configuration = parts.processor?.processor.configuration, summary.vision != nil else { return nil }
    let size = configuration.modelSize
    let kinds: [ImageProcessor.Configuration.Kind: String] = [
      .clip: "CLIP", .siglip: "SigLIP", .llava: "LLaVA", .llavaNext: "LLaVA-NeXT",
    ]
    let inside = parts.checkpoint?.processorConfig == nil ? nil : "the vision tower's folder"
    let place = parts.survey?.processorPlace ?? inside
    return "\(kinds[configuration.kind] ?? "")'s, \(size.width) × \(size.height), "
      + (place.map { "from \($0)" } ?? "its usual numbers, for no file says others")
  }

  private var preprocessing: String? {
    guard let processor = parts.processor, summary.vision != nil else { return nil }
    return "\(processor.policy.rawValue): \(processor.reason)"
  }

  // MARK: Text

  private var vocabulary: String? {
    summary.language.map { model in
      "\(model.vocabulary) tokens" + (summary.tokens.map { " (the tokenizer knows \($0))" } ?? "")
    }
  }

  /// What keys and values of a full context take, as `fast` keeps them.
  private var context: String? {
    guard let context = summary.context, let bytes = context.keyValueBytesPerPosition[KVType.f16.rawValue] else {
      return nil
    }
    return "\(context.used) tokens, \(byteCount(bytes * context.used)) of memory when full "
      + "(trained for \(context.trained))"
  }

  private var endTokens: String? {
    parts.tokenizer == nil ? nil : summary.stopTokens.map(\.description).joined(separator: ", ")
  }

  // MARK: Sizes

  private var files: String? {
    guard let files = parts.survey?.files, !files.isEmpty else { return nil }
    let names = files.prefix(2).map { $0.path.split(separator: "/").last.map(String.init) ?? $0.path }
    return "\(byteCount(files.reduce(0) { $0 + $1.bytes })) in "
      + (files.count > 2 ? "\(files.count) files" : names.joined(separator: " and "))
  }

  /// "4.14 billion: language model 3.82 billion, vision tower 304 million, projector 22 million"
  private var parameters: String? {
    let counts = summary.parameters
    guard counts.total > 0 else { return nil }
    let parts = [("language model", counts.language), ("vision tower", counts.vision), ("projector", counts.projector)]
      .filter { $0.1 > 0 }.map { "\($0) \(roundedCount($1))" }
    return roundedCount(counts.total) + (parts.count > 1 ? ": " + parts.joined(separator: ", ") : "")
  }

  /// "Q4_K: 193 tensors, 1.86 GB; F32: 66, 0.8 MB"
  private var types: String {
    summary.types.map { "\($0.type): \($0.tensors) tensor\($0.tensors == 1 ? "" : "s"), \(byteCount($0.bytes))" }
      .joined(separator: "; ")
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

extension ModelSummary.Token: CustomStringConvertible {
  /// "<|end|> (32007)", or the id alone.
  public var description: String { text.map { "\($0) (\(id))" } ?? "\(id)" }
}

extension ConversationFormat {
  /// Which template it is, and why.
  fileprivate var explanation: String {
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
