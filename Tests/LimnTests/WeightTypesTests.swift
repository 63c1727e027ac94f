import Foundation
import Limn
import LimnCore
import LimnTensor
import Testing

@Suite struct WeightTypesTests {
  /// The quantised pair, with another type of the same size for one tensor, and another name for the last.
  private func model(
    _ tensor: String, as type: UInt8, outputNamed name: String = "output.weight"
  ) async throws -> VisionLanguageModel {
    let pair = ModelCase.root + "/checkpoints/gguf/pair/"
    var data = try Data(contentsOf: URL(filePath: pair + "tiny-mixed.gguf"))
    // A name, then the number of axes, two axes of 8 bytes, the type.
    let entry = try #require(data.range(of: Data(tensor.utf8)))
    data[entry.upperBound + 4 + 16] = type
    let output = try #require(
      data.range(of: Data("output.weight".utf8), in: entry.upperBound..<data.endIndex))
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
    let (tensor, nvfp4) = ("blk.0.attn_output.weight", UInt8(40))
    _ = try await model(tensor, as: nvfp4)
    await #expect {
      _ = try await model(tensor, as: nvfp4, outputNamed: "output1.scale")
    } throws: { error in
      (error as? LimnError)?.kind == .badData && "\(error)".contains("NVFP4")
    }
  }

  @Test("a type that the kernels do not have is refused by name")
  func unknownType() async throws {
    await #expect {
      _ = try await model("blk.0.attn_k.weight", as: 25)  // F16 becomes I16
    } throws: { error in
      (error as? LimnError)?.kind == .badData && "\(error)".contains("I16")
    }
  }
}
