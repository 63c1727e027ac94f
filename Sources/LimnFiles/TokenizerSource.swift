/// Where a model's tokenizer and chat template are read from.
package enum TokenizerSource: Sendable {
  /// A folder with `tokenizer.json` or `tokenizer.model`, and the small files beside them.
  case folder(path: String)
  /// A language model's GGUF file, which carries its vocabulary.
  case gguf(GGUF)
}
