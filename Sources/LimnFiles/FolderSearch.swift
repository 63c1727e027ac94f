import LimnCore
import Foundation

extension Folder {
  /// A folder that another folder of the model refers to, by path or by repository name, as scripts and configs do.
  /// Searched in this order: as a path relative to this folder (or absolute), by its last component inside and beside
  /// this folder, as a path from the working directory, in the Hugging Face cache.
  func related(_ name: String) -> Folder? {
    let last = name.split(separator: "/").last.map(String.init) ?? name
    guard !last.isEmpty, last != ".", last != ".." else { return nil }
    var places = name.hasPrefix("/") ? [name] : [path(name)]
    places += [path(last), path("../" + last)]
    if !name.hasPrefix("/") { places.append(name) }
    places += Self.cached(name)
    return places.map(Folder.init).first { $0.isModel && $0.absolute != absolute }
  }

  /// Whether the folder holds a model, or an adapter of one.
  var isModel: Bool { has("config.json") || has("adapter_config.json") }

  /// The path with symbolic links, `.` and `..` resolved: one folder, one path.
  var absolute: String { URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path }

  /// Snapshots of a repository in the Hugging Face cache; the latest known state of its main branch comes first.
  private static func cached(_ repository: String) -> [String] {
    let environment = ProcessInfo.processInfo.environment
    let caches = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? "") + "/.cache"
    let home = environment["HF_HOME"] ?? caches + "/huggingface"
    let hub = environment["HF_HUB_CACHE"] ?? home + "/hub"
    let folder = Folder(path: "\(hub)/models--\(repository.replacing("/", with: "--"))")
    let snapshots = Folder(path: folder.path("snapshots"))
    let main = try? String(contentsOfFile: folder.path("refs/main"), encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let names = snapshots.names.filter { $0 == main } + snapshots.names.filter { $0 != main }
    return names.map(snapshots.path)
  }
}
