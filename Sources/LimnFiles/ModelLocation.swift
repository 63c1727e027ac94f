/// Where a model lies, and the files that belong to it but are stored elsewhere.
package struct ModelLocation: Sendable, Hashable {
  /// A folder in any of the layouts of docs/formats.md, or a .gguf file.
  package var model: String
  /// The projector file of a .gguf model; nil: one in the same folder.
  package var projector: String?
  /// The folder of the model that an adapter or a projector belongs to; nil: the one that its files name.
  package var base: String?

  package init(_ model: String, projector: String? = nil, base: String? = nil) {
    self.model = model
    self.projector = projector
    self.base = base
  }
}
