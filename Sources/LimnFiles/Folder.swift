#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif
import LimnTensor

/// A model's folder: which files it has, and the ways into it.
struct Folder {
  let path: String

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// A file's size; 0 where it is not there.
  static func bytes(_ path: String) -> Int {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : 0
  }

  /// The folder that holds a file.
  static func holding(_ file: String) -> Folder {
    guard let slash = file.lastIndex(of: "/") else { return Folder(path: ".") }
    return Folder(path: slash == file.startIndex ? "/" : String(file[..<slash]))
  }

  func path(_ name: String) -> String { path.hasSuffix("/") ? path + name : path + "/" + name }

  func has(_ name: String) -> Bool { Self.exists(path(name)) }

  /// The names in the folder, sorted; none where it cannot be read.
  var names: [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// A JSON file of the folder; nil where there is none.
  func json(_ name: String) throws(LimnError) -> JSON? { has(name) ? try JSON.parse(file: path(name)) : nil }

  /// A file that another file of the folder names: it has to be there, and inside.
  func file(_ name: String, namedBy index: String) throws(LimnError) -> String {
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
