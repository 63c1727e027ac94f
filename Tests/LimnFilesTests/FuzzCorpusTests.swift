import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

/// Inputs that the fuzzers of Tools/fuzz found to reach every corner of a parser.
@Suite struct FuzzCorpusTests {
  /// The corpus of a parser.
  private static func inputs(_ parser: String) throws -> [URL] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/Fuzz/\(parser)")
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    return try #require(files.isEmpty ? nil : files)
  }

  /// How many inputs were read, and how many refused with an error of one line. Both happen in every corpus: a parser
  /// that refused all, or none, would not be tested by it.
  private func replay(_ parser: String, _ read: (String) throws -> Void) throws {
    var (accepted, refused) = (0, 0)
    for input in try Self.inputs(parser) {
      do {
        try read(input.path())
        accepted += 1
      } catch let error as LimnError {
        #expect(!error.description.contains(where: \.isNewline) && !error.description.isEmpty)
        refused += 1
      }
    }
    #expect(accepted > 0 && refused > 0, "\(accepted) accepted, \(refused) refused")
  }

  private func touch(_ tensors: [NamedTensor]) {
    for entry in tensors {
      #expect(entry.tensor.bytes.isEmpty == (entry.tensor.count == 0), "\(entry.name)")
    }
  }

  @Test(
    "JSON files of any kind are read, or refused with a line, and what is read is written and read the same")
  func json() throws {
    try replay("json") { path in
      let text = try JSON.parse(file: path).serialised()
      #expect(try JSON.parse(text, place: "written").serialised() == text)
    }
  }

  @Test("GGUF files of any kind are read, or refused with a line")
  func gguf() throws {
    try replay("gguf") { path in
      let file = try GGUF(path: path)
      touch(file.tensors)
      for (_, value) in file.metadata {
        _ = (value.strings, value.ints, value.doubles, value.string, value.int)
      }
    }
  }

  @Test("safetensors files of any kind are read, or refused with a line")
  func safetensors() throws { try replay("safetensors") { touch(try Safetensors(path: $0).tensors) } }

  @Test("PyTorch files of any kind are read, or refused with a line")
  func pytorch() throws { try replay("pytorch") { touch(try PyTorchFile(path: $0).tensors) } }

  @Test("configurations of any kind are read, or refused with a line")
  func config() throws {
    try replay("config") { _ = try ModelConfig(json: try JSON.parse(file: $0), place: "config.json") }
  }
}
