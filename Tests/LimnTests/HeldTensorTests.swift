import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import LimnTesting
import Testing

/// A tensor to write: its name, type, shape and bytes.
private struct Stored {
  var name: String
  var type: TensorType
  var shape: [Int]
  var bytes: [UInt8]

  init(_ entry: NamedTensor) {
    name = entry.name
    type = entry.tensor.type
    shape = entry.tensor.shape
    bytes = Array(entry.tensor.bytes)
  }
}

/// A copy of a checkpoint with a single weight file, in which some things are changed.
private func changed(
  _ testCase: ModelCase, config change: (inout JSONObject) -> Void = { _ in },
  tensors: (inout [Stored]) throws -> Void = { _ in }
) throws -> TemporaryFolder {
  let folder = try TemporaryFolder()
  for name in try FileManager.default.contentsOfDirectory(atPath: testCase.model) {
    try folder.copy(testCase.model + "/" + name)
  }
  var config = try #require(try JSON.parse(file: folder.path("config.json")).object)
  change(&config)
  try folder.write("config.json", Data(JSON.object(config).serialised(.compact).utf8))
  var stored = try Safetensors(path: testCase.model + "/model.safetensors").tensors.map(Stored.init)
  try tensors(&stored)
  try FileManager.default.removeItem(atPath: folder.path("model.safetensors"))
  try write(stored, "model.safetensors", folder)
  return folder
}

private func write(_ tensors: [Stored], _ name: String, _ folder: TemporaryFolder) throws {
  let headers = try tensors.map { try TensorHeader(name: $0.name, type: $0.type, shape: $0.shape) }
  try folder.write(
    name, Data(SafetensorsWriter.layout(headers).header) + Data(tensors.flatMap(\.bytes)))
}

/// The largest error of a model's logits against those of a case.
private func deviation(
  of file: String, from testCase: ModelCase, projector: String? = nil
) async throws -> Double {
  var options = LoadOptions()
  options.precision = .exact
  options.preprocess = testCase.preprocess
  options.context = 512
  options.projectorFile = projector
  let model = try await VisionLanguageModel.load(file, options: options)
  // A GGUF file names no image token.
  let image = try Checkpoint.open(ModelLocation(testCase.model)).config.imageTokenID
  let isFolder = try Checkpoint.open(options.location(of: file)).layout != .gguf
  let ids = testCase.inputIDs.map { $0 == image && !isFolder ? -200 : $0 }
  let logits = try await model.logits(ids: ids, images: try await model.encode(testCase.sources))
  return largestError(testCase.positions.map { logits[$0] }, try testCase.expectedLogits())
}

/// Opens a model as far as to see whether its tensors are there and fit.
private func check(_ model: String) throws {
  _ = try ModelParts(ModelLocation(model), steps: [.files, .weights], for: .checking)
}

private func run(_ conversion: Conversion) throws {
  _ = try conversion.run(try WeightEncoder(threads: 2), replaces: false) { _, _ in }
}

@Suite("What a model's files hold counts, not what is said of it") struct HeldTensorTests {
  private let untied = try! ModelCase("llama-mha")
  private let tied = try! ModelCase("llama-tied-llama3")

  @Test("a head of its own is used although tie_word_embeddings is true, and conversions carry it", arguments: [1, 2])
  func ownHead(place: Int) async throws {
    let folder = try changed(untied) { config in
      if place == 1 {
        config.set("tie_word_embeddings", to: .bool(true))
      } else {
        var text = config["text_config"]?.object ?? [:]
        text.set("tie_word_embeddings", to: .bool(true))
        config.set("text_config", to: .object(text))
      }
    }
    #expect(try await deviation(of: folder.path, from: untied) <= untied.tolerance)
    let location = ModelLocation(folder.path)
    try run(try Conversion.gguf(location, format: .f32, vision: .f32, output: folder.path("m.gguf")))
    #expect(try GGUF(path: folder.path("m.gguf")).tensors.contains { $0.name == "output.weight" })
    #expect(try await deviation(of: folder.path("m.gguf"), from: untied) <= untied.tolerance)
    try run(try Conversion.huggingFace(location, type: .f32, output: folder.path("hf")))
    #expect(try await deviation(of: folder.path("hf"), from: untied) <= untied.tolerance)
    let written = try JSON.parse(file: folder.path("hf/config.json"))
    #expect(written["tie_word_embeddings"] == .bool(false))
  }

  @Test("one table serves as both where the config says so, under either name")
  func storedAsHead() async throws {
    let folder = try changed(
      tied,
      tensors: { tensors in
        let place = try #require(tensors.firstIndex { $0.name.hasSuffix("embed_tokens.weight") })
        tensors[place].name = "lm_head.weight"
      })
    #expect(try await deviation(of: folder.path, from: tied) <= tied.tolerance)
    try run(
      try Conversion.gguf(ModelLocation(folder.path), format: .f32, vision: .f32, output: folder.path("m.gguf")))
    let names = try GGUF(path: folder.path("m.gguf")).tensors.map(\.name)
    #expect(names.contains("token_embd.weight") && !names.contains("output.weight"))
  }

  @Test("where one of the two is missing and the config does not say that they are one, the error names both")
  func missingTable() throws {
    for gone in ["lm_head.weight", "embed_tokens.weight"] {
      let folder = try changed(untied, tensors: { $0.removeAll { $0.name.hasSuffix(gone) } })
      let error = #expect(throws: LimnError.self) { try check(folder.path) }
      for word in ["lm_head.weight", "embed_tokens.weight", "tie_word_embeddings"] {
        #expect(error?.description.contains(word) == true, "\(error!)")
      }
    }
  }

  @Test("a table and a head for different vocabularies are refused, and both are named")
  func differentVocabularies() throws {
    let folder = try changed(
      untied,
      tensors: { tensors in
        let place = try #require(tensors.firstIndex { $0.name.hasSuffix("lm_head.weight") })
        tensors[place].shape[0] -= 8
        tensors[place].bytes.removeLast(8 * tensors[place].shape[1] * 4)
      })
    let error = #expect(throws: LimnError.self) { try check(folder.path) }
    #expect(error?.description.contains("token table") == true && error?.found == "336")
  }

  @Test("the table says how large the vocabulary is, not vocab_size")
  func vocabularySize() async throws {
    let folder = try changed(untied) { config in
      var text = config["text_config"]?.object ?? [:]
      text.set("vocab_size", to: .integer(320))
      config.set("text_config", to: .object(text))
    }
    #expect(try await deviation(of: folder.path, from: untied) <= untied.tolerance)
  }

  @Test("a patch embedding with the channels last is the same embedding, also when it is converted")
  func channelsLast() async throws {
    let folder = try changed(
      untied,
      tensors: { tensors in
        let place = try #require(tensors.firstIndex { $0.name.hasSuffix("patch_embedding.weight") })
        let patches = tensors[place]
        let (filters, side) = (patches.shape[0], patches.shape[2])
        tensors[place].shape = [filters, side, side, 3]
        tensors[place].bytes = (0..<filters).flatMap { filter in
          (0..<side * side).flatMap { pixel in
            (0..<3).flatMap { channel in
              let from = ((filter * 3 + channel) * side * side + pixel) * 4
              return patches.bytes[from..<from + 4]
            }
          }
        }
      })
    #expect(try await deviation(of: folder.path, from: untied) <= untied.tolerance)
    try run(
      try Conversion.gguf(ModelLocation(folder.path), format: .f32, vision: .f32, output: folder.path("m.gguf")))
    #expect(try await deviation(of: folder.path("m.gguf"), from: untied) <= untied.tolerance)
  }

  @Test("shards hold what they hold: an index may name other tensors, or another shard")
  func index() async throws {
    let folder = try changed(untied)
    let stored = try Safetensors(path: folder.path("model.safetensors")).tensors.map(Stored.init)
    try FileManager.default.removeItem(atPath: folder.path("model.safetensors"))
    try write(Array(stored[..<20]), "a.safetensors", folder)
    try write(Array(stored[20...]), "b.safetensors", folder)
    // Every tensor in the wrong shard, and two that nobody needs.
    var map: JSONObject = [
      "model.layers.0.self_attn.rotary_emb.inv_freq": .string("a.safetensors"),
      "lm_head.bias": .string("b.safetensors"),
    ]
    for (place, tensor) in stored.enumerated() {
      map.set(tensor.name, to: .string(place < 20 ? "b.safetensors" : "a.safetensors"))
    }
    func writeIndex(_ map: JSONObject) throws {
      let index = JSON.object(["weight_map": .object(map)]).serialised(.compact)
      try folder.write("model.safetensors.index.json", Data(index.utf8))
    }
    try writeIndex(map)
    #expect(try await deviation(of: folder.path, from: untied) <= untied.tolerance)

    let norm = try #require(stored.first { $0.name.hasSuffix("language_model.model.norm.weight") }).name
    for (name, part) in [("a.safetensors", stored[..<20]), ("b.safetensors", stored[20...])] {
      try write(part.filter { $0.name != norm }, name, folder)
    }
    let error = #expect(throws: LimnError.self) { try check(folder.path) }
    #expect(error?.description.contains("norm.weight") == true)
    #expect(error?.description.contains(map[norm]?.string ?? "?") == true, "the shard that the index names")
  }

  @Test("a kind of quantisation that limn does not read is refused by its name")
  func otherQuantisation() throws {
    let folder = try changed(
      untied,
      config: { config in
        config.set("quantization_config", to: .object(["quant_method": .string("compressed-tensors")]))
      },
      tensors: { tensors in
        let place = try #require(tensors.firstIndex { $0.name.hasSuffix("layers.0.mlp.up_proj.weight") })
        tensors[place].name += "_packed"
      })
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(folder.path)) }
    #expect(error?.description.contains("compressed-tensors") == true && error?.kind == .badData)
  }

  @Test("codes of groups that do not fit what the config says are refused", arguments: ["mlx", "awq", "gptq"])
  func brokenGroups(name: String) throws {
    let testCase = try ModelCase(name)
    let scales = try changed(testCase, tensors: { $0.removeAll { $0.name.hasSuffix("1.mlp.gate_proj.scales") } })
    #expect(throws: LimnError.self) { try check(scales.path) }
    let settings = try changed(testCase) { config in
      var fields = config["quantization_config"]?.object ?? [:]
      fields.set("bits", to: .integer(3))
      config.set("quantization_config", to: .object(fields))
    }
    let error = #expect(throws: LimnError.self) { try check(settings.path) }
    #expect(error?.kind == .badData)
  }

  @Test("weights that are quantised in groups are not quantised again on opening")
  func twice() async throws {
    let testCase = try ModelCase("awq")
    let error = await #expect(throws: LimnError.self) {
      _ = try await testCase.open { $0.quantization = LoadQuantization(.nf4) }
    }
    #expect(error?.kind == .usage && error?.found == "AWQ4")
  }

  @Test("a group that has no scale is refused before anything reads it")
  func wildGroups() async throws {
    let folder = try changed(
      try ModelCase("gptq"),
      tensors: { tensors in
        let place = try #require(tensors.firstIndex { $0.name.hasSuffix("1.mlp.gate_proj.g_idx") })
        tensors[place].bytes.replaceSubrange(0..<4, with: [0xFF, 0xFF, 0xFF, 0x7F])
      })
    let error = await #expect(throws: LimnError.self) { _ = try await VisionLanguageModel.load(folder.path) }
    #expect(error?.description.contains("g_idx") == true)
  }

  @Test("a folder that holds a GGUF pair and nothing else is the model; of two models one has to be named")
  func folderOfGGUF() async throws {
    let folder = try TemporaryFolder()
    try run(
      try Conversion.gguf(ModelLocation(untied.model), format: .f32, vision: .f32, output: folder.path("out")))
    #expect(try await deviation(of: folder.path("out"), from: untied) <= untied.tolerance)
    try run(try Conversion.gguf(ModelLocation(tied.model), format: .f32, vision: .f32, output: folder.path("out")))
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(folder.path("out"))) }
    #expect(error?.kind == .usage && error?.found?.contains("llama-mha-f32.gguf") == true, "\(error!)")
  }

  @Test("a GGUF pair is found under any name; Ollama's manifests say which belong together")
  func anyName() async throws {
    let folder = try TemporaryFolder()
    try run(try Conversion.gguf(ModelLocation(untied.model), format: .f32, vision: .f32, output: folder.path("m.gguf")))
    let blobs = folder.path("blobs")
    try FileManager.default.createDirectory(atPath: blobs, withIntermediateDirectories: true)
    let (language, projector) = (blobs + "/sha256-1a", blobs + "/sha256-2b")
    try FileManager.default.moveItem(atPath: folder.path("m.gguf"), toPath: language)
    try FileManager.default.moveItem(atPath: folder.path("m-mmproj-f32.gguf"), toPath: projector)
    #expect(try await deviation(of: language, from: untied) <= untied.tolerance)
    #expect(try RawWeights.open(ModelLocation(language)).tensors.contains { $0.name == "mm.0.weight" })

    // Another projector of the same width: no name tells which one is meant.
    try FileManager.default.copyItem(atPath: projector, toPath: blobs + "/sha256-3c")
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(ModelLocation(language)) }
    #expect(error?.description(for: .command).contains("--mmproj") == true, "\(error!)")
    let manifest = """
      {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:1a"},
        {"mediaType": "application/vnd.ollama.image.projector", "digest": "sha256:2b"}]}
      """
    let place = folder.path("manifests/registry.ollama.ai/library/llava")
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    try Data(manifest.utf8).write(to: URL(filePath: place + "/latest"))
    #expect(try Checkpoint.open(ModelLocation(language)).projectorFile == "sha256-2b")
  }
}
