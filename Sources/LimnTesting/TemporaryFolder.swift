package import Foundation

/// A folder for a test's files, removed with it.
package final class TemporaryFolder: Sendable {
  package let path = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID().uuidString)").path

  package init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The names in it, sorted.
  package var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }

  package func path(_ name: String) -> String { path + "/" + name }

  @discardableResult package func write(_ name: String, _ content: some DataProtocol) throws -> String {
    try Data(content).write(to: URL(filePath: path(name)))
    return path(name)
  }

  /// A copy of a file or folder, under its own name.
  @discardableResult package func copy(_ source: String) throws -> String {
    let copy = path(URL(filePath: source).lastPathComponent)
    try FileManager.default.copyItem(atPath: source, toPath: copy)
    return copy
  }
}
