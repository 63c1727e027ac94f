import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor
import Testing

private let checkpoints = ModelCase.root + "/checkpoints"

@Suite struct ProjectorFileTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

  private func run(_ conversion: Conversion) throws {
    _ = try conversion.run(try WeightEncoder(threads: 2), replaces: false) { _, _ in }
  }

  private func convert(_ name: String) throws -> GGUF {
    let conversion = try Conversion.gguf(
      ModelLocation("\(checkpoints)/\(name)"), format: .f16, vision: .f16, output: folder + "/m.gguf")
    try run(conversion)
    return try GGUF(path: conversion.paths[1])
  }

  /// What llama.cpp's clip.cpp requires of a file of this type.
  private static let plain = ["mm.0.bias", "mm.0.weight", "mm.2.bias", "mm.2.weight"]
  private static let normed = [0, 1, 3, 4].flatMap { ["mm.\($0).bias", "mm.\($0).weight"] }
  private static let before = ["mm.input_norm.bias", "mm.input_norm.weight"]

  @Test("a projector that llama.cpp can compute has its type and names; any other has a type that llama.cpp refuses")
  func types() throws {
    let all = [
      ("llama-mha", "mlp", Self.plain), ("siglip", "mlp", Self.plain), ("mipha", "mlp", Self.plain),
      ("projector-norms", "mlp", Self.normed),
      // Without the first patch, with a norm before the projector, with the class token kept.
      ("siglip-default", "limn_mlp", Self.plain), ("vipllava", "limn_mlp", Self.plain + Self.before),
      ("llama-rope-linear", "limn_mlp", Self.plain),
    ]
    for (name, type, names) in all {
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let file = try convert(name)
      #expect(file["clip.projector_type"]?.string == type, "\(name)")
      #expect(file.tensors.map(\.name).filter { $0.hasPrefix("mm.") }.sorted() == names, "\(name)")
      let isSigLIP = name.hasPrefix("siglip") || name == "mipha"
      #expect(file.tensors.contains { $0.name == "v.class_embd" } == !isSigLIP, "\(name)")
    }
  }

  @Test("limn's own keys are written only if the usual keys cannot express the same")
  func ownKeys() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func keys(_ name: String) throws -> [String] {
      defer { try? FileManager.default.removeItem(atPath: folder) }
      return try convert(name).metadata.map(\.key).filter { $0.hasPrefix("clip.limn.") }
    }
    for name in ["llama-mha", "siglip", "mipha", "projector-norms"] { #expect(try keys(name) == []) }
    #expect(try keys("vipllava-layers") == ["clip.limn.projector.input_norm_epsilon"])
    #expect(try keys("llama-rope-linear") == ["clip.limn.vision.keeps_first_feature"])
  }

  @Test("a pair records whether images are padded, cropped or stretched", arguments: ["llama-mha", "mipha", "siglip"])
  func aspect(_ name: String) throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func policy(_ reference: String) throws -> PreprocessPolicy {
      try ModelImageProcessor(try Checkpoint.open(ModelLocation(reference)), policy: .trained).policy
    }
    _ = try convert(name)
    let before = try policy("\(checkpoints)/\(name)")
    #expect(try policy(folder + "/m.gguf") == before)
    #expect(before == (name == "siglip" ? .hf : .pad))
  }

  @Test("a bitsandbytes checkpoint is written with its own values", arguments: ["bnb-nf4", "bnb-int8"])
  func bitsandbytes(_ name: String) throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let cpu = try CPU(threads: 2)
    let source = try RawWeights.open(ModelLocation("\(checkpoints)/\(name)"))
    try run(try Conversion.huggingFace(ModelLocation("\(checkpoints)/\(name)"), type: .f32, output: folder))
    let written = try Checkpoint.open(ModelLocation(folder))
    #expect(!written.weights.values.contains(where: \.isQuantized) && written.unused.isEmpty)
    var count = 0
    for entry in source.tensors {
      guard let canonical = entry.modelName, let weight = written.weights[canonical] else { continue }
      let (before, after) = (try source.weight(of: entry).resolved(on: cpu), try weight.resolved(on: cpu))
      #expect(try before.shape == after.shape && dequantized(before) == dequantized(after), "\(canonical)")
      if entry.tensor.type == .u8 || entry.tensor.type == .i8 { count += 1 }
    }
    let weights = try Checkpoint.open(ModelLocation("\(checkpoints)/\(name)")).weights.values
    #expect(count == weights.count(where: \.isQuantized) && count > 10)
    let config = try JSON.parse(file: folder + "/config.json")
    #expect(config["quantization_config"] == nil)
  }
}
