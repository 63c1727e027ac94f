import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import Testing

@Suite struct WeightTypesTests {
  private let checkpoints = ModelCase.root + "/checkpoints/"

  /// The quantised pair, with one tensor's type replaced by another of the same size, and optionally one more tensor.
  private func model(
    _ tensor: String, as type: TensorType, adding name: String? = nil
  ) async throws -> VisionLanguageModel {
    let pair = checkpoints + "gguf/pair/"
    let source = try GGUF(path: pair + "tiny-mixed.gguf")
    var headers: [TensorHeader] = []
    var data: [Data] = []
    for entry in source.tensors {
      let type = entry.name == tensor ? type : entry.tensor.type
      headers.append(try TensorHeader(name: entry.name, type: type, shape: entry.tensor.shape))
      try #require(headers.last!.byteCount == entry.tensor.range.count)
      data.append(Data(entry.tensor.bytes))
    }
    if let name {
      headers.append(try TensorHeader(name: name, type: .f32, shape: [1]))
      data.append(Data(count: 4))
    }
    let layout = try GGUFWriter.layout(source.metadata.map { ($0.key, .copy($0.value)) }, headers)
    let file = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID()).gguf")
    let padded = zip(data, layout.padding).map { $0 + Data(count: $1) }
    try (Data(layout.header) + padded.joined()).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    var options = LoadOptions()
    options.projectorFile = pair + "mmproj-tiny-f16.gguf"
    return try await VisionLanguageModel.load(file.path, options: options)
  }

  private func expect(_ words: String..., of open: () async throws -> VisionLanguageModel) async {
    await #expect {
      _ = try await open()
    } throws: { error in
      (error as? LimnError)?.kind == .badData && words.allSatisfy { "\(error)".contains($0) }
    }
  }

  @Test("NVFP4 weights are accepted, except one whose scale is in a separate tensor")
  func scalesApart() async throws {
    let tensor = "blk.0.attn_output"
    _ = try await model(tensor + ".weight", as: .nvfp4)
    // A scale that belongs to no weight says nothing about this weight.
    _ = try await model(tensor + ".weight", as: .nvfp4, adding: "strange.scale")
    await expect("NVFP4", tensor + ".scale", "o_proj") {
      try await model(tensor + ".weight", as: .nvfp4, adding: tensor + ".scale")
    }
  }

  @Test("a type without kernels is refused by name")
  func unknownType() async throws {
    await expect("I16") { try await model("blk.0.attn_k.weight", as: .i16) }
  }

  @Test("a conversion refuses an adapter that the quantised base cannot take in, and says which base would do")
  func quantisedBase() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data(#"{"r": 1, "lora_alpha": 1}"#.utf8).write(to: folder.appending(path: "adapter_config.json"))
    let module = "base_model.model.language_model.model.layers.0.self_attn.q_proj"
    let layout = SafetensorsWriter.layout([
      try TensorHeader(name: module + ".lora_A.weight", type: .f32, shape: [1, 64]),
      try TensorHeader(name: module + ".lora_B.weight", type: .f32, shape: [64, 1]),
    ])
    try (Data(layout.header) + Data(count: 512)).write(to: folder.appending(path: "adapter_model.safetensors"))
    var options = LoadOptions()
    options.base = checkpoints + "bnb-nf4"
    let error = #expect(throws: LimnError.self) {
      try Conversion.gguf(options.location(of: folder.path), format: .f16, vision: .f16, output: folder.path + "/out")
    }
    #expect(error?.kind == .badData)
    for word in ["attn_q", "NF4", "before quantisation", "adapter_model.safetensors"] {
      #expect("\(error!)".contains(word))
    }
  }
}
