package import LimnCore

/// Where a model's tokenizer and chat template are; no weights are read for it.
package enum TokenizerSource: Sendable {
  /// A folder with tokenizer.json, tokenizer.model or vocab.json, and its configs.
  case folder(path: String)
  case gguf(GGUF)

  /// The tokenizer of a model reference: a folder, or a .gguf file, which may hold nothing but a vocabulary.
  /// - Parameter base: the folder of the model that an adapter belongs to, whose tokenizer it may share.
  package static func open(_ reference: String, base: String? = nil) throws(LimnError) -> TokenizerSource {
    guard Folder.exists(reference) else { throw RawWeights.notFound(reference) }
    if Folder.isDirectory(reference) {
      var folder = Folder(path: reference), depth = 0
      while !folder.holdsTokenizer, case let kind = FolderKind(folder), kind != .model {
        folder = try kind.base(of: folder, named: depth == 0 ? base : nil, depth: depth)
        depth += 1
      }
      return .folder(path: folder.path)
    }
    let file = try GGUF(path: reference)
    guard !file.isProjector else {
      throw LimnError.badData(
        "this GGUF file is a vision tower with projector and knows no tokens", in: reference,
        remedy: "name the language model's .gguf file as the model, and this one with --mmproj")
    }
    return .gguf(file)
  }
}
