import LimnCore

/// Ollama stores the files of all models under their digests, blobs/sha256-…, and says in manifests/ which of them
/// belong together.
enum OllamaManifest {
  /// What belongs to a language model's file.
  struct Parts {
    /// The path of its projector's file; nil if it has none.
    let projector: String?
  }

  /// - Returns: nil if no manifest names the file.
  static func parts(of model: String) -> Parts? {
    let blobs = Folder.holding(model)
    let name = model.split(separator: "/").last.map(String.init) ?? model
    guard name.hasPrefix("sha256-"), Folder.isDirectory(blobs.path("../manifests")) else { return nil }
    return search(Folder(path: blobs.path("../manifests")), for: name, blobs, depth: 0)
  }

  /// host/namespace/model/tag
  private static let depthLimit = 6

  private static func search(_ folder: Folder, for name: String, _ blobs: Folder, depth: Int) -> Parts? {
    guard depth < depthLimit else { return nil }
    for entry in folder.names {
      let path = folder.path(entry)
      if Folder.isDirectory(path) {
        if let found = search(Folder(path: path), for: name, blobs, depth: depth + 1) { return found }
      } else if Folder.bytes(path) < 1 << 20, let layers = (try? JSON.parse(file: path))?["layers"]?.array {
        func file(_ kind: String) -> String? {
          let layer = layers.first { $0["mediaType"]?.string == "application/vnd.ollama.image.\(kind)" }
          return layer?["digest"]?.string.map { $0.replacing(":", with: "-") }
        }
        guard file("model") == name else { continue }
        return Parts(projector: file("projector").flatMap { $0.contains("/") ? nil : blobs.path($0) })
      }
    }
    return nil
  }
}
