import Foundation
import Limn
import LimnTensor
import Testing

@Suite struct WeightTypesTests {
  /// The quantised pair, with one tensor's type changed in the file's table and another one renamed.
  private func model(ffnUp type: UInt8, renamed name: String) async throws -> VisionLanguageModel {
    let pair = ModelCase.root + "/checkpoints/gguf/pair/"
    var data = try Data(contentsOf: URL(filePath: pair + "tiny-mixed.gguf"))
    // A name, then the number of axes, two axes of 8 bytes, the type.
    let ffnUp = try #require(data.range(of: Data("blk.0.ffn_up.weight".utf8)))
    data[ffnUp.upperBound + 4 + 16] = type
    let output = try #require(data.range(of: Data("output.weight".utf8), in: ffnUp.upperBound..<data.endIndex))
    data.replaceSubrange(output, with: Data(name.utf8))
    let file = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID()).gguf")
    try data.write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    var options = LoadOptions()
    options.projectorFile = pair + "mmproj-tiny-f16.gguf"
    return try await VisionLanguageModel.load(file.path, options: options)
  }

  @Test("NVFP4 weights are taken, but not where their scales lie in tensors that nobody reads")
  func scalesApart() async throws {
    _ = try await model(ffnUp: 40, renamed: "output.weight")
    await #expect {
      _ = try await model(ffnUp: 40, renamed: "output1.scale")
    } throws: { error in
      (error as? LimnError)?.kind == .badData && "\(error)".contains("NVFP4")
    }
  }

  @Test("a type that the kernels do not have is refused by name")
  func unknownType() async throws {
    await #expect {
      _ = try await model(ffnUp: 41, renamed: "output.weight")
    } throws: { "\($0)".contains("Q1_0") }
  }
}
