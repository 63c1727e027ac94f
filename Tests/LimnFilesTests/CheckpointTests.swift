import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite("Checkpoints") struct CheckpointTests {
  @Test(
    "shards are joined by their index, and a missing, incomplete or outside shard is refused")
  func shards() throws {
    let folder = Fixtures.path("sharded")
    #expect(
      try RawWeights.open(ModelLocation(folder)).tensors.map(\.name).sorted() == ["empty", "f32", "i64", "scalar"])
    for (file, says) in [
      ("gone.safetensors", "missing"), ("../types.safetensors", "outside"), ("/etc/passwd", "outside"),
    ] {
      let index = #"{"weight_map": {"a": "\#(file)"}}"#
      try Fixtures.withFolder(["model.safetensors.index.json": index]) { folder in
        let error = #expect(throws: LimnError.self) { try RawWeights.open(ModelLocation(folder)) }
        #expect(error?.kind == .badData && error?.description.contains(says) == true)
      }
    }
    let index = #"{"weight_map": {"absent": "model.safetensors"}}"#
    try Fixtures.with(try Fixtures.bytes("types.safetensors"), as: "x.safetensors") { path in
      let folder = String(path.dropLast("/x.safetensors".count))
      #expect(try RawWeights.open(ModelLocation(folder)).tensors.count == 20)
      try Data(index.replacing("model.safetensors", with: "x.safetensors").utf8)
        .write(to: URL(filePath: folder + "/model.safetensors.index.json"))
      // What the index says of a tensor that is nowhere matters only to whoever needs it.
      #expect(try RawWeights.open(ModelLocation(folder)).tensors.count == 20)
    }
  }

  @Test("an index that names very many missing files is refused immediately", .timeLimit(.minutes(1)))
  func manyShards() throws {
    let files = (0..<200_000).map { #""tensor\#($0)": "part-\#($0)-of-200000.safetensors""# }
    let index = #"{"weight_map": {"# + files.joined(separator: ",") + "}}"
    try Fixtures.withFolder(["model.safetensors.index.json": index]) { folder in
      let error = #expect(throws: LimnError.self) { try RawWeights.open(ModelLocation(folder)) }
      #expect(error?.kind == .badData && error?.description.contains("part-0-of-200000") == true)
    }
  }

  @Test("a named pipe instead of a file is refused, since it could block forever", .timeLimit(.minutes(1)))
  func pipes() throws {
    try Fixtures.withFolder([:]) { folder in
      for name in ["config.json", "model.gguf"] { #expect(mkfifo(folder + "/" + name, 0o600) == 0) }
      for reference in [folder, folder + "/model.gguf"] {
        let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(reference)) }
        #expect(error?.kind == .badData && error?.description.contains("not a file") == true)
      }
    }
  }

  @Test("a missing or empty reference gives an error that says so")
  func absent() throws {
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation("/nowhere/model")) }
    #expect(error?.kind == .notFound)
    #expect(throws: LimnError.self) { try RawWeights.open(ModelLocation("/nowhere/model.gguf")) }
    #expect(throws: LimnError.self) { try TokenizerSource.open(ModelLocation("/nowhere")) }
    try Fixtures.withFolder(["config.json": #"{"text_config": {}}"#]) { folder in
      let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(folder)) }
      #expect(error?.kind == .notFound && error?.description.contains("no weights") == true)
    }
    try Fixtures.withFolder(["adapter_model.bin": "", "config.json": #"{"text_config": {}}"#]) { folder in
      let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(folder)) }
      #expect(error?.kind == .notFound && error?.description.contains("adapter_config.json") == true)
    }
  }

  @Test("a tokenizer is found without weights")
  func tokenizerOnly() throws {
    try Fixtures.withFolder(["tokenizer.json": "{}", "config.json": "{}"]) { folder in
      guard case .folder(folder) = try TokenizerSource.open(ModelLocation(folder)) else {
        throw LimnError.badData("no folder")
      }
    }
    guard case .gguf(let file) = try TokenizerSource.open(ModelLocation(Fixtures.path("v3.gguf"))) else {
      throw LimnError.badData("no GGUF")
    }
    #expect(file["strings"]?.strings?.count == 5)
  }

  @Test("the original layout without its vision tower gives an error that names what to fetch")
  func towerMissing() throws {
    let config = #"""
      {"mm_vision_tower": "openai/none-such", "mm_projector_type": "mlp2x_gelu", "model_type": "llava",
      "architectures": ["LlavaLlamaForCausalLM"]}
      """#
    try Fixtures.with(try Fixtures.bytes("types.safetensors"), as: "model.safetensors") { path in
      let folder = String(path.dropLast("/model.safetensors".count))
      try Data(config.utf8).write(to: URL(filePath: folder + "/config.json"))
      let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(folder)) }
      #expect(error?.kind == .notFound && error?.description.contains("fetch openai/none-such") == true)
    }
  }

  // MARK: Acceptance cases, if present

  @Test(
    "acceptance checkpoints open completely, with a place for every tensor",
    .enabled(if: Fixtures.hasAcceptance, "no acceptance cases next to this clone"))
  func acceptanceModels() throws {
    let cases = Fixtures.acceptance + "/logits"
    for name in try FileManager.default.contentsOfDirectory(atPath: cases).sorted() {
      let folder = "\(cases)/\(name)/model"
      guard FileManager.default.fileExists(atPath: folder) else { continue }
      let checkpoint = try Checkpoint.open(ModelLocation(folder))
      #expect(checkpoint.unused.isEmpty, "\(name)")
      let config = checkpoint.config
      let vision = try #require(config.vision)
      let positions = try checkpoint.weight(named: "vision_tower.embeddings.position_embedding.weight")
      let side = vision.imageSize / vision.patchSize
      #expect(positions.shape == [side * side + 1, vision.hidden], "\(name)")
      let embeddings = try checkpoint.weight(named: "language_model.embed_tokens.weight")
      #expect(embeddings.shape == [config.language.vocabulary, config.language.hidden], "\(name)")
      #expect(
        !checkpoint.weights.keys.contains { $0.contains("layers.\(config.language.layers).self_attn.o_proj") }
      )
      _ = try checkpoint.weight(
        named: "language_model.layers.\(config.language.layers - 1).self_attn.o_proj.weight")
      _ = try checkpoint.weight(named: "vision_tower.encoder.layers.\(vision.layers - 1).mlp.fc1.weight")
      let projected = try checkpoint.weight(named: "multi_modal_projector.linear_2.weight")
      #expect(projected.shape == [config.language.hidden, config.language.hidden], "\(name)")
      #expect(checkpoint.processorConfig != nil, "\(name)")
      #expect(!checkpoint.endOfGenerationIDs.isEmpty, "\(name)")
      #expect((config.family == .llavaNext) == (checkpoint.weights["image_newline"] != nil), "\(name)")
      let error = #expect(throws: LimnError.self) {
        try checkpoint.weight(named: "language_model.layers.99.x")
      }
      #expect(error?.description.contains(folder) == true)
    }
  }

  @Test(
    "in a GGUF pair the projector is found, even swapped, and its fc1 is recognised by shape",
    .enabled(if: Fixtures.hasAcceptance, "no acceptance cases next to this clone"))
  func acceptancePair() throws {
    let folder = Fixtures.acceptance + "/gguf/pair"
    let (language, projector) = (folder + "/tiny-q.gguf", folder + "/mmproj-tiny-f16.gguf")
    for checkpoint in [
      try Checkpoint.open(ModelLocation(language)), try Checkpoint.open(ModelLocation(language, projector: projector)),
      try Checkpoint.open(ModelLocation(projector, projector: language)),
    ] {
      let config = checkpoint.config
      #expect(config.language.ropeAdjacent && config.language.headSize == 64 && config.language.kvHeads == 2)
      #expect(
        config.vision?.layers == 2 && config.featureLayers == [-1] && config.vision?.activation == .quick)
      #expect(try checkpoint.weight(named: "vision_tower.encoder.layers.0.mlp.fc1.weight").shape == [56, 32])
      #expect(
        try checkpoint.weight(named: "vision_tower.embeddings.patch_embedding.weight").shape == [32, 3, 8, 8])
      #expect(checkpoint.unused.isEmpty && checkpoint.layout == .gguf)
      #expect(checkpoint.processorConfig?["image_mean"]?.array?.first == .number(0.48145467))
    }
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(projector)) }
    #expect(error?.description(for: .command).contains("--mmproj") == true)
    #expect(throws: LimnError.self) { try TokenizerSource.open(ModelLocation(projector)) }
    #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(language, projector: language)) }
  }

  @Test(
    "broken and hostile files are refused, good ones are read",
    .enabled(if: Fixtures.hasAcceptance, "no acceptance cases next to this clone"))
  func acceptanceMalformed() throws {
    let folder = Fixtures.acceptance + "/malformed"
    for item in try #require(try JSON.parse(file: folder + "/cases.json").array) {
      let path = folder + "/" + (item["path"]?.string ?? "")
      if item["ok"]?.bool == true {
        #expect(try RawWeights.open(ModelLocation(path)).tensors.count == item["tensors"]?.int, "\(path)")
      } else {
        let error = #expect(throws: LimnError.self, "\(path)") { try RawWeights.open(ModelLocation(path)) }
        #expect(error?.kind == .badData, "\(path)")
      }
    }
  }
}
