import CLimnSystem

/// A model's folder: which files it has, and how to reach them.
package struct Folder: Sendable {
  package let path: String

  package init(path: String) { self.path = path }

  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  package static func isDirectory(_ path: String) -> Bool {
    limn_status_of_path(path).kind == LIMN_FILE_FOLDER
  }

  /// A file's size; 0 if it does not exist.
  package static func bytes(_ path: String) -> Int {
    Int(limn_status_of_path(path).bytes)
  }

  /// The folder that contains a file.
  package static func holding(_ file: String) -> Folder {
    guard let slash = file.lastIndex(of: "/") else { return Folder(path: ".") }
    return Folder(path: slash == file.startIndex ? "/" : String(file[..<slash]))
  }

  package func path(_ name: String) -> String { path.hasSuffix("/") ? path + name : path + "/" + name }

  package func has(_ name: String) -> Bool { Self.exists(path(name)) }

  /// The names in the folder, sorted; empty if it cannot be read. Hidden files are left out: macOS writes ._NAME beside
  /// NAME on disks of other systems.
  package var names: [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = limn_next_name(directory) {
      let name = String(cString: entry)
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  /// A JSON file in the folder; nil if it does not exist.
  package func json(_ name: String) throws(LimnError) -> JSON? { has(name) ? try JSON.parse(file: path(name)) : nil }

  /// A file that another file of the folder refers to: it must exist, and lie inside the folder.
  package func file(_ name: String, namedBy index: String) throws(LimnError) -> String {
    guard !name.isEmpty, !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
      throw LimnError.badData("a file outside the model's folder is named", in: path(index), found: name)
    }
    guard has(name) else {
      throw LimnError(
        .badData, "the file \(name) is missing", in: path, expected: "all files that \(index) names",
        remedy: "fetch the missing files of this model")
    }
    return path(name)
  }
}
