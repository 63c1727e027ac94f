import Foundation
import LimnFiles
import LimnCore
import LimnTensor

/// This process's folder, in memory if the system has such a place, for parsers that open files by path.
enum Scratch {
  static let folder: String = {
    let shared = "/dev/shm"
    let parent = FileManager.default.isWritableFile(atPath: shared) ? shared : NSTemporaryDirectory()
    let folder = parent + "/limn-fuzz-\(getpid())"
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    atexit { try? FileManager.default.removeItem(atPath: Scratch.folder) }
    return folder
  }()

  /// Writes a file into the folder and returns its path.
  static func write(_ bytes: UnsafeRawBufferPointer, as name: String) -> String {
    let path = folder + "/" + name
    guard let file = fopen(path, "w") else { fatalError("\(path) cannot be written") }
    fwrite(bytes.baseAddress, 1, bytes.count, file)
    fclose(file)
    return path
  }
}

/// Runs a parser on an input. A typed error is a valid result, but its message must be one line. The run may
/// use at most 5 s of processor time, which is measured here because libFuzzer's own limit includes time
/// spent in other processes.
func attempt(_ body: () throws(LimnError) -> Void) {
  let start = clock()
  do {
    try body()
  } catch {
    precondition(!error.description.contains(where: \.isNewline), "a message of several lines")
  }
  precondition((clock() - start) / Int(CLOCKS_PER_SEC) < 5, "more than 5 s of the processor")
}

/// Touches both ends of every tensor: the data that a header promises must be there.
func touch(_ tensors: [NamedTensor]) {
  for entry in tensors {
    precondition(entry.tensor.bytes.first.map { $0 &+ entry.tensor.bytes.last! } ?? 0 >= 0)
    precondition(entry.tensor.count >= 0)
  }
}
