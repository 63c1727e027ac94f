import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor
import LimnText
import Testing

/// A folder that is deleted when the test ends.
private final class TemporaryFolder {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

private func run(_ conversion: Conversion, replaces: Bool = false) throws {
  _ = try conversion.run(try WeightEncoder(threads: 2), replaces: replaces) { _, _ in }
}

@Suite struct ConversionTests {
  /// Projectors with norms after their layers, which transformers has no class for.
  private static let beyondHuggingFace = ["gguf-siglip", "gguf-yi", "projector-norms"]
  /// GGUF readers ignore Phi-3's window, and this prompt is longer than the window.
  private static let windowed = ["phi3"]

  private static func checkpoint(_ testCase: ModelCase) -> String {
    testCase.model.split(separator: "/").last.map(String.init) ?? ""
  }

  private func greedyText(
    _ testCase: ModelCase, _ model: String, _ preprocess: PreprocessPolicy? = nil
  ) async throws -> String {
    var options = LoadOptions()
    options.precision = .exact
    options.preprocess = preprocess ?? testCase.preprocess
    options.context = 1024
    let converted = try await VisionLanguageModel.load(model, options: options)
    let answer = try await converted.answer(testCase.request())
    return answer.text.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test(
    "a model converted to GGUF, and from there to Hugging Face's layout, still gives the reference's greedy text",
    arguments: ModelCase.all)
  func greedyText(_ testCase: ModelCase) async throws {
    let folder = TemporaryFolder()
    let expected = testCase.greedyText.trimmingCharacters(in: .whitespacesAndNewlines)
    let name = Self.checkpoint(testCase)
    let config = try Checkpoint.open(ModelLocation(testCase.model, projector: testCase.projectorFile)).config
    func gguf() throws -> Conversion {
      try Conversion.gguf(
        ModelLocation(testCase.model, projector: testCase.projectorFile), format: .f32, vision: .f32,
        output: folder.path + "/m.gguf")
    }
    func huggingFace() throws -> Conversion {
      try Conversion.huggingFace(
        ModelLocation(testCase.model, projector: testCase.projectorFile), type: .f32, output: folder.path + "/hf")
    }
    try run(try gguf())
    let pair = folder.path + "/m.gguf"
    if !Self.windowed.contains(name) {
      #expect(try await greedyText(testCase, pair) == expected, "gguf")
    }
    if folder.names.count == 2, !Self.beyondHuggingFace.contains(testCase.name) {
      try run(try Conversion.huggingFace(ModelLocation(pair), type: .f32, output: folder.path + "/again"))
      // The processor that is written prepares images as in training: it pads where the case crops.
      let crops = testCase.preprocess == .hf && config.family == .llava && config.vision?.family == .clip
      if !Self.windowed.contains(name) {
        let text = try await greedyText(testCase, folder.path + "/again", crops ? .crop : nil)
        #expect(text == expected, "gguf, then hf")
      }
    }
    guard config.vision != nil else { return }
    guard !Self.beyondHuggingFace.contains(testCase.name) else {
      #expect(throws: LimnError.self) { try huggingFace() }
      return
    }
    try run(try huggingFace())
    #expect(try await greedyText(testCase, folder.path + "/hf") == expected, "hf")
  }

  @Test("the demo model, converted to an F16 pair, answers as before, word for word")
  func demo() async throws {
    let folder = TemporaryFolder()
    try run(
      try Conversion.gguf(ModelLocation(try DemoModel.path()), format: .f16, vision: .f16, output: folder.path))
    #expect(folder.names == ["limn-demo-f16.gguf", "limn-demo-mmproj-f16.gguf"])
    var options = LoadOptions()
    options.precision = .exact
    let demo = try await VisionLanguageModel.load(try DemoModel.path(), options: options)
    let pair = try await VisionLanguageModel.load(folder.path + "/limn-demo-f16.gguf", options: options)
    let scenes = ModelCase.root + "/../Demo"
    let questions = try JSON.parse(file: scenes + "/questions.json").array ?? []
    #expect(questions.count == 400)
    for row in questions.enumerated().filter({ $0.offset % 40 == 0 }).map(\.element) {
      let image = ImageSource.path(scenes + "/" + (row["image"]?.string ?? ""))
      let question = row["question"]?.string ?? ""
      let before = try await demo.ask(question, images: [image])
      #expect(try await pair.ask(question, images: [image]).text == before.text)
    }
  }

  @Test("each tensor gets the type that llama-quantize chooses for it")
  func mixes() throws {
    let file = ModelCase.root + "/../Files/mixes.json"
    let models = try #require(try JSON.parse(file: file).array)
    #expect(models.count == 6)
    for model in models {
      let isTied: Bool = try #require(model["tied"]?.bool)
      let facts = GGUFMix.Model(
        layers: try #require(model["layers"]?.int), headGroups: try #require(model["groups"]?.int), isTied: isTied)
      for (kind, types) in try #require(model["types"]?.object).members {
        let format = try #require(GGUFMix(name: kind))
        for (name, type) in try #require(types.object).members {
          let shape = (model["shapes"]?[name]?.array ?? []).compactMap(\.int)
          let chosen = format.type(of: name, shape: shape, in: facts)
          #expect(chosen.rawValue == type.string, "\(kind) \(name)")
        }
      }
    }
  }

  @Test("quantising in one step gives the same weights as by way of an F32 GGUF")
  func twoWays() throws {
    let folder = TemporaryFolder()
    let demo = try DemoModel.path()
    try run(
      try Conversion.gguf(ModelLocation(demo), format: .q4_K_M, vision: .q8_0, output: folder.path + "/a.gguf"))
    try run(try Conversion.gguf(ModelLocation(demo), format: .f32, vision: .f32, output: folder.path + "/f.gguf"))
    try run(
      try Conversion.gguf(
        ModelLocation(folder.path + "/f.gguf", projector: folder.path + "/f-mmproj-f32.gguf"), format: .q4_K_M,
        vision: .q8_0,
        output: folder.path + "/b.gguf"))
    for (one, two) in [("a.gguf", "b.gguf"), ("a-mmproj-Q8_0.gguf", "b-mmproj-Q8_0.gguf")] {
      let first = try GGUF(path: folder.path + "/" + one)
      let second = try GGUF(path: folder.path + "/" + two)
      #expect(first.tensors.map(\.name) == second.tensors.map(\.name))
      for (a, b) in zip(first.tensors, second.tensors) {
        #expect(a.tensor.type == b.tensor.type && a.tensor.bytes.elementsEqual(b.tensor.bytes), "\(a.name)")
      }
    }
  }

  @Test("a conversion that is cancelled, or finds a weight that is NaN, leaves nothing behind")
  func nothingBehind() async throws {
    let folder = TemporaryFolder()
    let conversion = try Conversion.gguf(
      ModelLocation(try DemoModel.path()), format: .q4_K_M, vision: .f16, output: folder.path + "/deep/er")
    let task = Task {
      _ = try conversion.run(try WeightEncoder(threads: 1), replaces: false) { share, _ in
        if share > 0.5 { withUnsafeCurrentTask { $0?.cancel() } }
      }
    }
    let error = await #expect(throws: LimnError.self) { try await task.value }
    #expect(error?.kind == .interrupted)
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/deep"))
  }

  @Test("a checkpoint whose weights do not fit its config is refused before anything is written")
  func misfit() throws {
    let folder = TemporaryFolder()
    let source = folder.path + "/source"
    try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: ModelCase.root + "/checkpoints/llama-mha", toPath: source)
    let config = source + "/config.json"
    let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: config)), as: UTF8.self)
    let changed = text.replacing("\"intermediate_size\": 36", with: "\"intermediate_size\": 40")
    #expect(changed != text)
    try changed.write(toFile: config, atomically: true, encoding: .utf8)
    let out = folder.path + "/out"
    let errors = [
      #expect(throws: LimnError.self) {
        try Conversion.gguf(ModelLocation(source), format: .q8_0, vision: .f16, output: out)
      },
      #expect(throws: LimnError.self) { try Conversion.huggingFace(ModelLocation(source), type: .f16, output: out) },
    ]
    for error in errors {
      #expect(error?.kind == .badData && error?.description.contains("another shape") == true)
    }
  }

  @Test("the tokenizers library gives every added token its id: the vocabulary holds them all, even if ids are missing")
  func addedTokens() throws {
    let folder = TemporaryFolder()
    try run(
      try Conversion.huggingFace(ModelLocation(ModelCase.root + "/checkpoints/mipha"), type: .f16, output: folder.path))
    let json = try JSON.parse(file: folder.path + "/tokenizer.json")
    let added = try #require(json["added_tokens"]?.array)
    let ids = added.compactMap { $0["id"]?.int }
    #expect(ids.count > 2 && ids == ids.sorted())
    for token in added {
      let content = try #require(token["content"]?.string)
      #expect(json["model"]?["vocab"]?[content]?.int == token["id"]?.int, "\(content)")
    }
    let config = try JSON.parse(file: folder.path + "/config.json")
    #expect(config["image_token_index"]?.int == json["model"]?["vocab"]?["<image>"]?.int)
  }

  /// A model whose config names another image token.
  private func source(_ folder: TemporaryFolder, imageToken: Int) throws -> String {
    let source = folder.path + "/source"
    try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: ModelCase.root + "/checkpoints/llama-mha", toPath: source)
    let config = source + "/config.json"
    let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: config)), as: UTF8.self)
    let changed = text.replacing("\"image_token_index\": 336", with: "\"image_token_index\": \(imageToken)")
    try #require(changed != text)
    try changed.write(toFile: config, atomically: true, encoding: .utf8)
    return source
  }

  @Test("an image token just after the vocabulary gets a row, which the config counts")
  func newRow() throws {
    let folder = TemporaryFolder()
    let out = folder.path + "/out"
    try run(try Conversion.huggingFace(ModelLocation(try source(folder, imageToken: 344)), type: .f32, output: out))
    let config = try JSON.parse(file: out + "/config.json")
    #expect(config["image_token_index"]?.int == 344 && config["text_config"]?["vocab_size"]?.int == 345)
    #expect(config["text_config"]?["hidden_size"]?.int == 24)
    let table = try Checkpoint.open(ModelLocation(out)).weight(named: "language_model.embed_tokens.weight")
    #expect(table.shape == [345, 24])
    // Only a checkpoint that fits its config can be converted.
    #expect(throws: Never.self) {
      try Conversion.huggingFace(ModelLocation(out), type: .f32, output: folder.path + "/again")
    }
  }

  @Test("an image token far beyond the vocabulary is refused rather than reached with padding rows")
  func farImageToken() throws {
    let folder = TemporaryFolder()
    let source = try source(folder, imageToken: 4_000_000)
    let error = #expect(throws: LimnError.self) {
      try Conversion.huggingFace(ModelLocation(source), type: .f32, output: folder.path + "/out")
    }
    #expect(error?.kind == .badData && error?.found == "4000000")
    #expect(error?.remedy?.description.contains("image_token_index") == true)
  }

  @Test("existing files are replaced only on request")
  func replacing() throws {
    let folder = TemporaryFolder()
    let conversion = try Conversion.huggingFace(
      ModelLocation(try DemoModel.path()), type: .bf16, output: folder.path)
    try run(conversion)
    let error = #expect(throws: LimnError.self) { try run(conversion) }
    #expect(error?.kind == .usage && error?.remedy?.description(for: .command).contains("--force") == true)
    try run(conversion, replaces: true)
    let config = try JSON.parse(file: folder.path + "/config.json")
    #expect(config["dtype"]?.string == "bfloat16" && config["image_token_index"]?.int == 4)
  }

  @Test("a file that would be taken for part of the result is removed only on request")
  func obsolete() throws {
    let folder = TemporaryFolder()
    let index = "model.safetensors.index.json"
    try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
    try Data("{}".utf8).write(to: URL(fileURLWithPath: folder.path + "/" + index))
    let conversion = try Conversion.huggingFace(
      ModelLocation(try DemoModel.path()), type: .bf16, output: folder.path)
    let error = #expect(throws: LimnError.self) { try run(conversion) }
    #expect(error?.kind == .usage && error?.place == folder.path + "/" + index)
    #expect(error?.remedy?.description(for: .command).contains("--force") == true)
    #expect(folder.names == [index])
    try run(conversion, replaces: true)
    #expect(!folder.names.contains(index) && folder.names.contains("model.safetensors"))
  }
}
