import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

/// Checkpoints spread over several folders. The logits tests (LimnTests) check that they compute the right
/// results; these tests check which parts are found where, and the errors if they are missing.
@Suite("Layouts") struct LayoutTests {
  private let checkpoints = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/Models/checkpoints")

  /// Runs `body` with a folder that contains copies of some of the tiny checkpoints, side by side.
  private func withCopies<R>(_ names: String..., body: (URL) throws -> R) throws -> R {
    let root = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: root) }
    for name in names {
      try FileManager.default.copyItem(at: checkpoints.appending(path: name), to: root.appending(path: name))
    }
    return try body(root)
  }

  /// Replaces a text in a file.
  private func edit(_ file: URL, _ from: String, _ to: String) throws {
    let text = try String(contentsOf: file, encoding: .utf8)
    try #require(text.contains(from))
    try text.replacing(from, with: to).write(to: file, atomically: true, encoding: .utf8)
  }

  /// Writes a safetensors file with the given data.
  private func write(_ headers: [TensorHeader], _ data: Data, to file: URL) throws {
    try (Data(SafetensorsWriter.layout(headers).header) + data).write(to: file)
  }

  /// A weight's bytes as it is computed with.
  private func data(_ weight: Weight, _ cpu: CPU) throws -> Data {
    let tensor = try weight.resolved(on: cpu)
    return withExtendedLifetime(tensor.memory) { Data(tensor.bytes) }
  }

  private func refusal(_ folder: URL, base: URL? = nil) throws -> LimnError {
    let error = #expect(throws: LimnError.self) {
      try Checkpoint.open(ModelLocation(folder.path(), base: base?.path()))
    }
    #expect(error?.description.contains { $0.isNewline } == false)
    return try #require(error)
  }

  // MARK: Adapters

  @Test("an adapter stands on its base: opening copies nothing, and only what it changes gets memory of its own")
  func mapped() throws {
    let cpu = try CPU(threads: 1)
    let checkpoint = try Checkpoint.open(ModelLocation(checkpoints.appending(path: "lora-original").path()))
    let changed = checkpoint.weights.filter { !$0.value.updates.isEmpty }.keys.sorted()
    let expected = (0..<2).flatMap { layer in
      ["mlp.down_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"].map {
        "language_model.layers.\(layer).\($0).weight"
      }
    }
    #expect(changed == expected)
    for (name, weight) in checkpoint.weights {
      guard case .tensor(let stored) = weight.stored else { throw LimnError.badData("\(name) is no tensor") }
      let tensor = try weight.resolved(on: cpu)
      #expect(stored.memory.path != nil && (tensor.memory === stored.memory) == weight.updates.isEmpty, "\(name)")
      #expect(tensor.type == .f16 && weight.type == .f16, "merged weights keep the base's type")
    }
    #expect(checkpoint.layout == .original && checkpoint.unused.isEmpty)
    #expect(checkpoint.parts.map { $0.split(separator: "/").last } == ["layout-base", "layout-clip"])
  }

  @Test(
    "what an adapter adds to projections stacked head by head follows their rows",
    arguments: ["llava_phi", "mipha_phi"])
  func fusedHeads(type: String) throws {
    try withCopies("llava-phi-fused") { root in
      let (base, adapter) = (root.appending(path: "llava-phi-fused"), root.appending(path: "adapter"))
      try edit(base.appending(path: "config.json"), #""llava_phi","#, #""\#(type)","#)
      try FileManager.default.createDirectory(at: adapter, withIntermediateDirectories: true)
      try Data(#"{"r": 1, "lora_alpha": 1}"#.utf8).write(to: adapter.appending(path: "adapter_config.json"))
      let module = "base_model.model.model.layers.0.self_attn.query_key_value"
      // Adds 1 to the queries of the second of two heads with 20 values each.
      let a = [Float](repeating: 1, count: 40)
      let b = (0..<120).map { (60..<80).contains($0) ? Float(1) : 0 }
      try write(
        [
          try TensorHeader(name: module + ".lora_A.weight", type: .f32, shape: [1, 40]),
          try TensorHeader(name: module + ".lora_B.weight", type: .f32, shape: [120, 1]),
        ], (a + b).withUnsafeBytes { Data($0) }, to: adapter.appending(path: "adapter_model.safetensors"))
      let cpu = try CPU(threads: 1)
      func rows(_ checkpoint: Checkpoint) throws -> [Data] {
        let weight = try checkpoint.weight(named: "language_model.layers.0.self_attn.qkv_proj.weight")
        let bytes = try data(weight, cpu)
        let size = bytes.count / 120
        return (0..<120).map { bytes.subdata(in: $0 * size..<($0 + 1) * size) }
      }
      let before = try rows(try Checkpoint.open(ModelLocation(base.path())))
      let after = try rows(try Checkpoint.open(ModelLocation(adapter.path(), base: base.path())))
      #expect((0..<120).filter { before[$0] != after[$0] } == Array(20..<40))
    }
  }

  @Test("the base is found next to the adapter or by name; if it is missing, the error says how to name it")
  func base() throws {
    try withCopies("lora-original", "layout-base", "layout-clip") { root in
      let (adapter, base) = (root.appending(path: "lora-original"), root.appending(path: "layout-base"))
      let cpu = try CPU(threads: 1)
      func bytes(_ checkpoint: Checkpoint) throws -> [String: Data] {
        try checkpoint.weights.mapValues { try data($0, cpu) }
      }
      let found = try bytes(try Checkpoint.open(ModelLocation(adapter.path())))
      let elsewhere = root.appending(path: "elsewhere")
      try FileManager.default.moveItem(at: base, to: elsewhere)
      var error = try refusal(adapter)
      #expect(
        error.kind == .notFound && error.description.contains("layout-base")
          && error.description(for: .command).contains("--base"))
      #expect(try bytes(try Checkpoint.open(ModelLocation(adapter.path(), base: elsewhere.path()))) == found)
      error = try refusal(adapter, base: root.appending(path: "nowhere"))
      #expect(error.kind == .notFound && error.description.contains("nowhere"))
      error = try refusal(elsewhere, base: adapter)
      #expect(error.kind == .usage)
      try edit(adapter.appending(path: "adapter_config.json"), "\"layout-base\"", "null")
      try edit(adapter.appending(path: "config.json"), "vicuna/not-here", "")
      #expect(try refusal(adapter).description.contains("does not say which model"))
    }
  }

  @Test("an adapter without a tokenizer uses the base's")
  func tokenizer() throws {
    let folder = checkpoints.appending(path: "lora-original").path()
    guard case .folder(let path) = try TokenizerSource.open(ModelLocation(folder)) else {
      throw LimnError.badData("no folder")
    }
    #expect(path.hasSuffix("layout-base"))
    let base = checkpoints.appending(path: "xtuner-whole").path()
    guard case .folder(base) = try TokenizerSource.open(ModelLocation(folder, base: base)) else {
      throw LimnError.badData("other")
    }
  }

  @Test("a base with other shapes is refused")
  func otherBase() throws {
    let error = try refusal(
      checkpoints.appending(path: "lora-original"), base: checkpoints.appending(path: "llama-mha"))
    #expect(error.kind == .badData && error.description.contains("shape"))
  }

  @Test("a base that bitsandbytes quantised keeps its codes, and what the adapter adds beside them")
  func quantisedBase() throws {
    try withCopies("bnb-nf4", "bnb-int8") { root in
      for name in ["bnb-nf4", "bnb-int8"] {
        let before = try Checkpoint.open(ModelLocation(root.appending(path: name).path())).weights
        let (target, weight) = try #require(
          before.filter { $0.key.hasSuffix("q_proj.weight") && $0.value.isQuantized }
            .min { $0.key < $1.key })
        let adapter = root.appending(path: "adapter-of-\(name)")
        try FileManager.default.createDirectory(at: adapter, withIntermediateDirectories: true)
        try Data(#"{"r": 1, "lora_alpha": 2}"#.utf8).write(to: adapter.appending(path: "adapter_config.json"))
        let module = "base_model.model." + target.dropLast(".weight".count)
        let headers = [
          try TensorHeader(name: module + ".lora_A.weight", type: .f32, shape: [1, weight.shape[1]]),
          try TensorHeader(name: module + ".lora_B.weight", type: .f32, shape: [weight.shape[0], 1]),
        ]
        let data = Data(count: headers.reduce(0) { $0 + $1.byteCount })
        try write(headers, data, to: adapter.appending(path: "adapter_model.safetensors"))
        let after = try Checkpoint.open(ModelLocation(adapter.path(), base: root.appending(path: name).path())).weights
        #expect(after.keys == before.keys)
        let changed = try #require(after[target])
        #expect(changed.updates.count == 1 && changed.updates[0].scale == 2 && changed.updates[0].rank == 1)
        #expect(changed.isQuantized && changed.shape == weight.shape && !changed.canMerge)
      }
    }
  }

  @Test(
    "an adapter that contradicts its weights, or is not a plain LoRA, is refused",
    arguments: [
      ("\"r\": 4", "\"r\": 5", "rank"), ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
      ("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"", "peft_type"),
      ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "init_lora_weights"),
      ("\"rank_pattern\": {}", "\"rank_pattern\": {\"layers.1.self_attn.q_proj\": 3}", "rank"),
      ("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"layers.(\": 3}", "alpha_pattern"),
      ("\"r\": 4", "\"r\": \"four\"", "r is wrong"),
    ])
  func otherAdapters(from: String, to: String, says: String) throws {
    try withCopies("lora-original", "layout-base", "layout-clip") { root in
      let adapter = root.appending(path: "lora-original")
      try edit(adapter.appending(path: "adapter_config.json"), from, to)
      let error = try refusal(adapter)
      #expect(error.kind == .badData && error.description.contains(says), "\(error)")
    }
  }

  @Test("an adapter without its config, its weights or its projector says which file is missing")
  func missingFiles() throws {
    for (file, says) in [
      ("adapter_config.json", "adapter_config.json"), ("adapter_model.bin", "adapter_model.safetensors"),
      ("non_lora_trainables.bin", "projector is missing"),
    ] {
      try withCopies("lora-original", "layout-base", "layout-clip") { root in
        let adapter = root.appending(path: "lora-original")
        try FileManager.default.removeItem(at: adapter.appending(path: file))
        let error = try refusal(adapter)
        #expect(error.kind == .notFound && error.description.contains(says), "\(error)")
      }
    }
  }

  @Test("adapter weights that are truncated or have unknown parts are refused")
  func brokenWeights() throws {
    try withCopies("lora-original", "layout-base", "layout-clip") { root in
      let file = root.appending(path: "lora-original/adapter_model.bin")
      let bytes = try Data(contentsOf: file)
      for count in [0, 100, bytes.count / 2, bytes.count - 1] {
        try bytes.prefix(count).write(to: file)
        #expect(try refusal(root.appending(path: "lora-original")).kind == .badData)
      }
    }
    for (from, to, says) in [
      ("lora_B", "lora_X", "does not know"), ("self_attn.q_proj.lora_A", "self_attn.x_proj.lora_A", "does not know"),
      ("layers.1.mlp.gate_proj.lora_B", "layers.7.mlp.gate_proj.lora_B", "is broken"),
    ] {
      try withCopies("lora-whole", "llama-mha") { root in
        let file = root.appending(path: "lora-whole/adapter_model.safetensors")
        var bytes = try Data(contentsOf: file)
        let place = try #require(bytes.range(of: Data(from.utf8)))
        bytes.replaceSubrange(place, with: Data(to.utf8))
        try bytes.write(to: file)
        let error = try refusal(root.appending(path: "lora-whole"))
        #expect(error.kind == .badData && error.description.contains(says), "\(error)")
      }
    }
  }

  @Test("adapters whose bases form a cycle are refused")
  func circle() throws {
    try withCopies("lora-whole") { root in
      let (one, other) = (root.appending(path: "lora-whole"), root.appending(path: "other"))
      try FileManager.default.copyItem(at: one, to: other)
      try edit(one.appending(path: "adapter_config.json"), "some-user/llama-mha", "other")
      try edit(other.appending(path: "adapter_config.json"), "some-user/llama-mha", "lora-whole")
      #expect(try refusal(one).description.contains("without end"))
      #expect(throws: LimnError.self) { try TokenizerSource.open(ModelLocation(one.path())) }
    }
  }

  @Test("the tensors of an adapter's folder are listed unchanged")
  func listing() throws {
    let whole = try RawWeights.open(ModelLocation(checkpoints.appending(path: "lora-whole").path())).tensors
    #expect(whole.contains { $0.name.hasSuffix("k_proj.lora_A.weight") && $0.modelName == nil })
    #expect(whole.contains { $0.modelName == "multi_modal_projector.linear_1.weight" })
    let xtuner = try RawWeights.open(ModelLocation(checkpoints.appending(path: "xtuner-whole").path())).tensors
    for name in ["language_model.norm.weight", "multi_modal_projector.linear_2.bias"] {
      #expect(xtuner.contains { $0.modelName == name })
    }
    #expect(xtuner.contains { $0.name.contains("vision_model") && $0.name.contains("lora_B") })
  }

  // MARK: xtuner, LLaVA-Phi

  @Test("an xtuner folder without its tower, or with another model's projector, gives an error that says so")
  func xtuner() throws {
    try withCopies("xtuner-whole") { root in
      let error = try refusal(root.appending(path: "xtuner-whole"))
      #expect(error.kind == .notFound && error.description.contains("fetch openai/layout-clip"))
    }
    for (from, to, says) in [
      ("\"depth\": 2", "\"depth\": 3", "depth"),
      ("\"visual_hidden_size\": 15", "\"visual_hidden_size\": 60", "visual_hidden_size"),
      ("\"llm_hidden_size\": 24", "\"llm_hidden_size\": 25", "llm_hidden_size"),
    ] {
      try withCopies("xtuner-lora", "layout-base") { root in
        try edit(root.appending(path: "xtuner-lora/projector/config.json"), from, to)
        let error = try refusal(root.appending(path: "xtuner-lora"))
        #expect(error.kind == .badData && error.description.contains(says), "\(error)")
      }
    }
    let whole = checkpoints.appending(path: "xtuner-whole")
    #expect(try refusal(whole, base: checkpoints.appending(path: "layout-base")).kind == .usage)
    try withCopies("xtuner-lora") { root in
      let error = try refusal(root.appending(path: "xtuner-lora"))
      #expect(error.kind == .notFound && error.description(for: .command).contains("--base"))
    }
    try withCopies("xtuner-lora", "layout-base") { root in
      try FileManager.default.removeItem(at: root.appending(path: "xtuner-lora/projector/model.safetensors"))
      #expect(try refusal(root.appending(path: "xtuner-lora")).kind == .notFound)
    }
  }

  @Test("LLaVA-Phi's fused projections must match the number of heads in its config")
  func llavaPhi() throws {
    let checkpoint = try Checkpoint.open(ModelLocation(checkpoints.appending(path: "llava-phi-fused").path()))
    #expect(checkpoint.layout == .llavaPhi && checkpoint.unused.isEmpty)
    #expect(try checkpoint.weight(named: "language_model.layers.1.self_attn.qkv_proj.bias").shape == [120])
    try withCopies("llava-phi-fused") { root in
      let folder = root.appending(path: "llava-phi-fused")
      try edit(
        folder.appending(path: "config.json"), "\"num_attention_heads\": 2,\n \"max",
        "\"num_attention_heads\": 2, \"num_key_value_heads\": 1,\n \"max")
      let error = try refusal(folder)
      #expect(error.kind == .badData && error.description.contains("query_key_value"))
    }
  }

  // MARK: Vision towers and image processors

  @Test(
    "a SigLIP so400m inside the checkpoint needs no config of its own for its heads and image size",
    arguments: [(729, 384), (256, 224)])
  func so400m(positions: Int, side: Int) throws {
    let tower = "model.vision_tower.vision_tower.vision_model."
    let shapes: [(name: String, shape: [Int])] = [
      ("\(tower)embeddings.patch_embedding.weight", [1152, 3, 14, 14]),
      ("\(tower)embeddings.position_embedding.weight", [positions, 1152]),
      ("\(tower)encoder.layers.0.mlp.fc1.weight", [16, 1152]), ("model.mm_projector.0.weight", [1, 1]),
    ]
    let headers = try shapes.map { try TensorHeader(name: $0.name, type: .f16, shape: $0.shape) }
    let config = #"""
      {"mm_vision_tower": "google/none-such", "mm_projector_type": "mlp2x_gelu", "model_type": "llava",
      "architectures": ["LlavaLlamaForCausalLM"]}
      """#
    try Fixtures.withFolder(["config.json": config]) { folder in
      let bytes = headers.reduce(0) { $0 + $1.byteCount }
      try write(headers, Data(count: bytes), to: URL(filePath: folder).appending(path: "model.safetensors"))
      let vision = try #require(try Checkpoint.open(ModelLocation(folder)).config.vision)
      #expect(vision.family == .siglip && vision.heads == 16 && vision.patchSize == 14)
      #expect(vision.imageSize == side && vision.patchesPerSide * vision.patchesPerSide == positions)
    }
  }

  @Test(
    "an image processor in processor_config.json overrides preprocessor_config.json, as in transformers",
    arguments: [
      (#"{"do_resize": false}"#, "processor_config.json"), ("null", "preprocessor_config.json"),
    ])
  func nestedProcessor(nested: String, place: String) throws {
    try withCopies("llama-mha") { root in
      let folder = root.appending(path: "llama-mha")
      let older = try JSON.parse(file: folder.appending(path: "preprocessor_config.json").path())
      try Data(#"{"image_processor": \#(nested)}"#.utf8)
        .write(to: folder.appending(path: "processor_config.json"))
      let expected = nested == "null" ? older : .object(["do_resize": .bool(false)])
      #expect(try Checkpoint.open(ModelLocation(folder.path())).processorConfig == expected)
      #expect(try CheckpointSurvey(ModelLocation(folder.path())).processorPlace == place)
    }
  }

  @Test("a projector without its base gives an error that says so")
  func projectorOnly() throws {
    try withCopies("projector-only", "layout-clip") { root in
      let error = try refusal(root.appending(path: "projector-only"))
      #expect(error.kind == .notFound && error.description.contains("layout-base"))
    }
  }
}
