import Foundation
import LimnFiles
package import LimnCore
package import LimnTensor

/// A set of files to write. Their layout is settled; the weights are read and converted only as they are written.
package struct Conversion: Sendable {
  struct WeightFile: Sendable {
    let path: String
    let layout: WeightFileLayout
    let tensors: [OutputTensor]
  }

  /// How one tensor was converted.
  package struct Report: Sendable {
    package let name: String
    /// The type in the source: "F16", "NF4".
    package let from: String
    package let to: TensorType
    package let loss: EncodingLoss
  }

  var weights: [WeightFile] = []
  /// Small files beside the weights, in the order in which they appear.
  var others: [(path: String, content: [UInt8])] = []
  /// Files from an earlier conversion that would be mistaken for part of this one; they are removed.
  var obsolete: [String] = []
  /// Remarks about the result that the user should see.
  package internal(set) var notes: [String] = []

  /// The paths of the files to write.
  package var paths: [String] { weights.map(\.path) + others.map(\.path) }
  /// Their total size.
  package var byteCount: Int {
    weights.reduce(0) { $0 + $1.layout.byteCount } + others.reduce(0) { $0 + $1.content.count }
  }

  /// Writes everything. All files appear under their names together, once all are complete. Until then they are
  /// called NAME.partial, and are removed if the task is cancelled or fails.
  /// - Parameters:
  ///   - replaces: whether existing files may be replaced, and obsolete ones removed.
  ///   - progress: receives the fraction done and the name of the current tensor.
  /// - Throws: wrong usage for files that already exist; unavailable if the disk is full or too small; `interrupted`.
  package func run(
    _ encoder: WeightEncoder, replaces: Bool, progress: (Double, String) -> Void
  ) throws(LimnError) -> [Report] {
    try check(replaces)
    var created: [String] = []
    do throws(LimnError) {
      for path in paths { created += try Self.makeFolder(of: path) }
      return try write(encoder, progress)
    } catch {
      for folder in created.reversed() { rmdir(folder) }
      throw error
    }
  }

  private func check(_ replaces: Bool) throws(LimnError) {
    let manager = FileManager.default
    for path in paths + obsolete {
      var isFolder: ObjCBool = false
      let folder = (path as NSString).deletingLastPathComponent
      if manager.fileExists(atPath: folder, isDirectory: &isFolder), !isFolder.boolValue {
        throw LimnError(
          .usage, "a file is in the way", in: folder, expected: "a folder", remedy: "choose another \(.output)")
      }
      guard manager.fileExists(atPath: path, isDirectory: &isFolder) else { continue }
      guard !isFolder.boolValue else {
        throw LimnError(.usage, "a folder is in the way", in: path, remedy: "choose another \(.output)")
      }
      guard replaces else {
        throw LimnError(
          .usage, "the file is there already", in: path,
          remedy: "choose another \(.output), or replace what is there with \(.force)")
      }
    }
    if let free = AtomicFile.freeSpace(at: paths[0]), free < byteCount {
      throw LimnError(
        .unavailable, "the disk has too little room", in: paths[0], expected: Self.gigabytes(byteCount),
        found: Self.gigabytes(free), remedy: "make room, or choose another place with \(.output)")
    }
  }

  private func write(
    _ encoder: WeightEncoder, _ progress: (Double, String) -> Void
  ) throws(LimnError) -> [Report] {
    var reports: [Report] = []
    var files: [AtomicFile] = []
    let all = Double(max(1, byteCount))
    var done = 0
    do throws(LimnError) {
      for weight in weights {
        let file = try AtomicFile(weight.path)
        files.append(file)
        try file.write(weight.layout.header)
        done += weight.layout.header.count
        for (tensor, padding) in zip(weight.tensors, weight.layout.padding) {
          let (name, type) = (tensor.header.name, tensor.header.type)
          var written = 0
          let loss = try encoder.encode(try tensor.values(encoder), order: tensor.order, as: type, name: name) {
            bytes throws(LimnError) in
            guard !Task.isCancelled else { throw LimnError(.interrupted, "interrupted") }
            try file.write(bytes)
            written += bytes.count
            progress(Double(done + written) / all, name)
          }
          precondition(written == tensor.header.byteCount, name)
          try file.write([UInt8](repeating: 0, count: padding))
          done += written + padding
          tensor.source.release()
          reports.append(Report(name: name, from: tensor.source.typeName, to: type, loss: loss))
        }
      }
      for other in others {
        let file = try AtomicFile(other.path)
        files.append(file)
        try file.write(other.content)
      }
      for file in files { try file.finish() }
    } catch {
      var error = error
      if error.kind == .unavailable, error.expected == nil { error.expected = Self.gigabytes(byteCount) }
      throw error
    }
    guard !Task.isCancelled else { throw LimnError(.interrupted, "interrupted") }
    for file in files { try file.publish() }
    for path in obsolete { unlink(path) }
    return reports
  }

  /// Creates the folder of a file if it is missing.
  /// - Returns: the folders that were created.
  private static func makeFolder(of path: String) throws(LimnError) -> [String] {
    let folder = (path as NSString).deletingLastPathComponent
    guard !folder.isEmpty, !FileManager.default.fileExists(atPath: folder) else { return [] }
    let above = try makeFolder(of: folder)
    guard mkdir(folder, 0o755) == 0 else {
      throw LimnError(
        .unavailable, "the folder cannot be made (\(String(cString: strerror(errno))))", in: folder,
        remedy: "choose another \(.output)")
    }
    return above + [folder]
  }

  static func gigabytes(_ bytes: Int) -> String {
    bytes < 100_000_000
      ? String(format: "%.1f MB", Double(bytes) / 1e6) : String(format: "%.2f GB", Double(bytes) / 1e9)
  }
}
