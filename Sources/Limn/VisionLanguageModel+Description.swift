import Foundation
import LimnFiles
import LimnImage
import LimnTensor
import LimnText

extension VisionLanguageModel {
  /// One line of what `limn show` says.
  public struct Fact: Sendable {
    /// For machines: "language_model".
    public let key: String
    /// For people: "language model".
    public let title: String
    public let value: String
  }

  /// What this model is and how it will be used.
  public var description: [Fact] {
    let config = checkpoint.config
    var facts: [Fact] = []
    func add(_ title: String, _ value: String) {
      facts.append(Fact(key: title.replacingOccurrences(of: " ", with: "_"), title: title, value: value))
    }
    add("model", name)
    add("location", checkpoint.reference)
    add("layout", "\(checkpoint.layout)")
    let language = config.language
    add(
      "language model",
      "\(language.architecture.rawValue), \(language.layers) layers × \(language.hidden), "
        + "\(language.heads) heads (\(language.kvHeads) for keys and values) of \(language.headSize), "
        + "feed-forward \(language.ffn)")
    add("vocabulary", "\(language.vocabulary) tokens (the tokenizer knows \(tokenizer.vocabularySize))")
    add("context", "\(context) tokens (trained for \(language.maxPositions))")
    if let vision = config.vision {
      add(
        "vision tower",
        "CLIP, \(vision.layers) layers × \(vision.hidden), \(vision.imageSize)×\(vision.imageSize) pixels in "
          + "patches of \(vision.patchSize), features of layer "
          + config.featureLayers.map(String.init).joined(separator: ", "))
      add(
        "pictures", config.family == .llavaNext ? "LLaVA-NeXT, an overview and tiles" : "LLaVA-1.5, one tile")
      add("preprocessing", "\(processor.policy.rawValue): \(processor.reason)")
    } else {
      add("vision tower", "none: this checkpoint cannot look at pictures")
    }
    add("chat template", conversation.reason)
    add("answers end with", endTokens)
    add("weights", weights)
    if !checkpoint.unused.isEmpty {
      let names = checkpoint.unused.sorted().prefix(4).joined(separator: ", ")
      add("unused tensors", "\(checkpoint.unused.count): \(names)\(checkpoint.unused.count > 4 ? ", …" : "")")
    }
    return facts
  }

  private var endTokens: String {
    let ids = tokenizer.endOfGenerationIDs.union(checkpoint.endOfGenerationIDs).sorted()
    return ids.map { id in tokenizer.piece(id).map { "\($0) (\(id))" } ?? "\(id)" }.joined(separator: ", ")
  }

  /// "1.9 GB in Q4_K, 0.4 GB in Q6_K, 0.1 MB in F32"
  private var weights: String {
    var sizes: [String: Int] = [:]
    for (name, tensor) in checkpoint.tensors {
      sizes[checkpoint.quantized[name]?.name ?? tensor.type.rawValue, default: 0] += tensor.range.count
    }
    return sizes.sorted { $0.value > $1.value }.map { type, bytes in
      let size =
        bytes >= 1 << 30
        ? String(format: "%.2f GB", Double(bytes) / Double(1 << 30))
        : String(format: "%.1f MB", Double(bytes) / Double(1 << 20))
      return "\(size) in \(type)"
    }.joined(separator: ", ")
  }
}
