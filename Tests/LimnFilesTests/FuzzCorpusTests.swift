import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

/// Inputs with which the fuzzers of Tools/fuzz reached every corner of a parser.
@Suite struct FuzzCorpusTests {
  /// A parser's corpus.
  private static func inputs(_ parser: String) throws -> [URL] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/Fuzz/\(parser)")
    let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    return try #require(files.isEmpty ? nil : files)
  }

  /// Counts the inputs that are read and those that are refused with a one-line error. Every corpus must have
  /// both: a parser that accepted all, or refused all, would not be tested by it.
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
    "JSON files of any kind are read or refused with a one-line error, and survive a round trip")
  func json() throws {
    try replay("json") { path in
      let text = try JSON.parse(file: path).serialised()
      #expect(try JSON.parse(text, place: "written").serialised() == text)
    }
  }

  @Test("GGUF files of any kind are read, or refused with a one-line error")
  func gguf() throws {
    try replay("gguf") { path in
      let file = try GGUF(path: path)
      touch(file.tensors)
      for (_, value) in file.metadata {
        _ = (value.strings, value.ints, value.doubles, value.string, value.int)
      }
    }
  }

  @Test("safetensors files of any kind are read, or refused with a one-line error")
  func safetensors() throws { try replay("safetensors") { touch(try Safetensors(path: $0).tensors) } }

  @Test("PyTorch files of any kind are read, or refused with a one-line error")
  func pytorch() throws { try replay("pytorch") { touch(try PyTorchFile(path: $0).tensors) } }

  @Test("configurations of any kind are read, or refused with a one-line error")
  func config() throws {
    try replay("config") { _ = try ModelConfig(json: try JSON.parse(file: $0), place: "config.json") }
  }
}
