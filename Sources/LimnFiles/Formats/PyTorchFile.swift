package import LimnCore
import LimnTensor

/// The tensors of a file written by `torch.save`, mapped: either a zip archive (PyTorch 1.6 and later), or a row of
/// pickles followed by the storages (earlier; `LegacyTorchFile`). The machine that reads the pickle describing the
/// tensors executes nothing.
///
///     NAME/data.pkl    the pickle: names, shapes, and which storage each tensor lies in
///     NAME/data/KEY    the storages, raw
///     NAME/byteorder   "little"
package struct PyTorchFile: Sendable {
  package let path: String
  /// In the order of the dictionary.
  package let tensors: [NamedTensor]

  package init(path: String) throws(LimnError) {
    let memory = try Memory(mapping: path)
    self.path = path
    if memory.bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
      tensors = try Self.zipped(memory, path: path)
    } else if let start = LegacyTorchFile.start(of: memory.bytes) {
      tensors = try LegacyTorchFile(memory, from: start, path: path).tensors
    } else {
      throw LimnError.badData(
        "this is no file of torch.save: it begins neither as a zip archive nor with PyTorch's magic number",
        in: path)
    }
  }

  private static func zipped(_ memory: Memory, path: String) throws(LimnError) -> [NamedTensor] {
    let zip = try Zip(memory.bytes, place: path)
    guard let pickleName = zip.entries.keys.map(\.value).filter({ $0.hasSuffix("/data.pkl") }).min(),
      let pickle = zip[pickleName]
    else {
      throw LimnError.badData("the zip archive holds no data.pkl: torch.save did not write it", in: path)
    }
    let prefix = String(pickleName.dropLast("data.pkl".count))
    if let order = zip[prefix + "byteorder"], !memory.bytes[order].elementsEqual("little".utf8) {
      throw LimnError.badData("weights in big-endian order, which limn does not read", in: path)
    }
    var machine = try PickleMachine(
      UnsafeRawBufferPointer(rebasing: memory.bytes[pickle]), place: "\(path), data.pkl")
    var described = TorchPickle()
    let result = try machine.run(&described)
    var places: [String: Range<Int>] = [:]
    for (key, storage) in described.storages {
      guard let range = zip[prefix + "data/" + key] else {
        throw LimnError.badData("the archive lacks the data of storage \"\(key)\"", in: path)
      }
      guard storage.byteCount == range.count else {
        throw LimnError.badData(
          "storage \"\(key)\" has another size than the pickle says", in: path,
          expected: storage.description, found: "\(range.count) bytes")
      }
      places[key] = range
    }
    return try described.stateDict(result, machine).tensors(in: memory, at: places, path: path)
  }
}
