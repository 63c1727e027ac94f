package import LimnCore

/// Where a model lies, and the files that belong to it but are stored elsewhere.
package struct ModelLocation: Sendable, Hashable {
  /// A folder in any of the layouts of docs/formats.md, or a GGUF file.
  package var model: String
  /// The projector file of a GGUF model; nil: one in the same folder.
  package var projector: String?
  /// The folder of the model that an adapter or a projector belongs to; nil: the one that its files name.
  package var base: String?

  package init(_ model: String, projector: String? = nil, base: String? = nil) {
    self.model = model
    self.projector = projector
    self.base = base
  }
}

extension ModelLocation {
  /// The same model, with its file in place of a folder that has no weights but in GGUF files, such as `limn quantize`
  /// writes.
  /// - Throws: wrong usage where there are several models to choose from.
  package func resolved() throws(LimnError) -> ModelLocation {
    guard Folder.isDirectory(model), case let folder = Folder(path: model), !RawWeights.isThere(folder),
      !Adapter.exists(in: folder), !XtunerParts.isLayout(of: folder), !folder.has("mm_projector.bin")
    else { return self }
    let models = folder.names.filter { name in
      guard let file = try? GGUF.architecture(ofFile: folder.path(name)) else { return false }
      return file != GGUF.projectorArchitecture
    }
    guard models.count < 2 else {
      throw LimnError(
        .usage, "the folder holds several models", in: model,
        found: models.prefix(8).joined(separator: ", ") + (models.count > 8 ? ", …" : ""),
        remedy: "name the file of one: \(folder.path(models[0]))")
    }
    var location = self
    if let name = models.first { location.model = folder.path(name) }
    return location
  }
}
