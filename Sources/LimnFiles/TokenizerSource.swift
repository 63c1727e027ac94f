package import LimnCore

/// Where a model's tokenizer and chat template are. Finding them reads no weights.
package enum TokenizerSource: Sendable {
  /// A folder with tokenizer.json, tokenizer.model or vocab.json, and their configs.
  case folder(path: String)
  case gguf(GGUF)

  /// Finds the tokenizer of a model; its file may hold only a vocabulary, and an adapter may use its base's.
  package static func open(_ location: ModelLocation) throws(LimnError) -> TokenizerSource {
    let location = try location.resolved(), reference = location.model
    guard Folder.exists(reference) else { throw RawWeights.notFound(reference) }
    if Folder.isDirectory(reference) {
      var folder = Folder(path: reference), depth = 0
      while !folder.holdsTokenizer, case let kind = FolderKind(folder), kind != .model {
        folder = try kind.base(of: folder, named: depth == 0 ? location.base : nil, depth: depth)
        depth += 1
      }
      return .folder(path: folder.path)
    }
    let file = try GGUF(path: reference)
    guard !file.isProjector else {
      throw LimnError.badData(
        "this GGUF file is a vision tower with projector and knows no tokens", in: reference,
        remedy: "name the language model's .gguf file as the model, and this one with \(.projector)")
    }
    return .gguf(file)
  }
}
