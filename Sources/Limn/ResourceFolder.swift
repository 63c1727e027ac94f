import CLimnSystem
import Foundation
import LimnCore

/// The folder of the files that limn brings along.
///
/// SwiftPM's `Bundle.module` would find them, but it ends the process where they are missing, and a command that was
/// copied elsewhere would read from the folder it was built in.
enum ResourceFolder {
  // What SwiftPM calls it, beside every program that limn is part of.
  #if canImport(Darwin)
    private static let bundle = "limn_Limn.bundle"
  #else
    private static let bundle = "limn_Limn.resources"
  #endif

  /// A folder among these files.
  static func path(of name: String) throws(LimnError) -> String {
    var program: String?
    if let path = limn_program_path() {
      program = String(cString: path)
      free(path)
    }
    let places = places(environment: ProcessInfo.processInfo.environment, program: program)
    for place in places where Folder(path: place).has(name) { return Folder(path: place).path(name) }
    throw LimnError(
      .notFound, code: .modelNotFound, "\(name), which comes with limn, is missing",
      expected: places.isEmpty ? nil : "it in " + places.joined(separator: " or "),
      remedy: "set LIMN_RESOURCES to the folder that holds it, or name a model with \(.model)")
  }

  /// Where these files may be. Whoever sets `LIMN_RESOURCES` means that folder and no other.
  /// - Parameter program: the file that holds limn's code, symbolic links resolved.
  static func places(environment: [String: String], program: String?) -> [String] {
    if let named = environment["LIMN_RESOURCES"], !named.isEmpty { return [named] }
    guard let program else { return [] }
    let folder = Folder.holding(program)
    let parent = Folder.holding(folder.path)
    // A program in bin, or one in libexec/limn.
    var places = [folder.path(bundle), parent.path("share/limn"), Folder.holding(parent.path).path("share/limn")]
    #if canImport(Darwin)
      // An app has its program in Contents/MacOS; so has the bundle of the tests, which lies beside limn's.
      let contents = Folder.holding(folder.path)
      places.append(contents.path("Resources/" + bundle))
      places.append(Folder.holding(Folder.holding(contents.path).path).path(bundle))
    #endif
    return places
  }
}
