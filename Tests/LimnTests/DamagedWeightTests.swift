import Foundation
import Limn
import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite struct DamagedWeightTests {
  @Test(
    "a weight that is NaN ends a question with an error, not an answer",
    arguments: [Precision.exact, .fast])
  func noNumbers(_ precision: Precision) async throws {
    let path = try ModelCase("gguf-pair").model
    let folder = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")
    try FileManager.default.copyItem(at: URL(filePath: path).deletingLastPathComponent(), to: folder)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: URL(filePath: path).lastPathComponent)
    var data = try Data(contentsOf: file)
    let tensor = try #require(try GGUF(path: path).tensors.first { $0.name == "blk.0.ffn_down.weight" })
    // The weight's first block of Q6_K, scales included.
    for index in 0..<210 { data[tensor.tensor.range.lowerBound + index] = 0xff }
    try data.write(to: file)
    var options = LoadOptions()
    options.precision = precision
    let model = try await VisionLanguageModel.load(file.path, options: options)
    let error = await #expect(throws: LimnError.self) { try await model.ask("hello") }
    #expect(error?.kind == .badData && "\(error!)".contains("results are NaN"))
  }
}
