package import LimnTensor

/// Where a model's tokenizer and chat template are; no weights are read for it.
package enum TokenizerSource: Sendable {
  /// A folder with tokenizer.json or tokenizer.model, and its configs.
  case folder(path: String)
  case gguf(GGUF)

  /// The tokenizer of a model reference: a folder, or a .gguf file, which may hold nothing but a vocabulary.
  package static func open(_ reference: String) throws(LimnError) -> TokenizerSource {
    guard Folder.exists(reference) else { throw RawWeights.notFound(reference) }
    if Folder.isDirectory(reference) { return .folder(path: reference) }
    let file = try GGUF(path: reference)
    guard !file.isProjector else {
      throw LimnError.badData(
        "this GGUF file is a vision tower with projector and knows no tokens", in: reference,
        remedy: "name the language model's .gguf file as the model, and this one with --mmproj")
    }
    return .gguf(file)
  }
}
