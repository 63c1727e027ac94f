package import LimnCore
import LimnTensor

/// What a model's files show, whether or not they open as a model: for `limn show`. Anything unreadable is left out;
/// `Checkpoint.open` says why.
package struct CheckpointSurvey: Sendable {
  /// The weight files and their sizes in bytes.
  package private(set) var files: [(path: String, bytes: Int)] = []
  /// In the order of the files.
  package private(set) var tensors: [RawWeights.Entry] = []
  package private(set) var config: ModelConfig?
  /// What the files themselves, not their tokens' names, say ends an answer.
  package private(set) var endOfGenerationIDs: Set<Int> = []
  /// Where the image processor's config is; nil: nowhere.
  package private(set) var processorPlace: String?
  /// The vision tower that the original layout names.
  package private(set) var tower: String?
  /// Whether the config says that the vision tower was trained further, so that another one will not do.
  package private(set) var tunesTower = false

  /// - Throws: `notFound` where there is nothing at all.
  package init(_ location: ModelLocation) throws(LimnError) {
    let location = try location.resolved()
    guard Folder.exists(location.model) else { throw RawWeights.notFound(location.model) }
    guard Folder.isDirectory(location.model) else {
      read(try? GGUFPair(location))
      return
    }
    read(Folder(path: location.model))
  }

  private mutating func read(_ pair: GGUFPair?) {
    guard let pair else { return }
    let both = [pair.language, pair.projector].compactMap(\.self)
    files = both.flatMap(\.files).map { ($0, Folder.bytes($0)) }
    tensors = both.flatMap { RawWeights($0.tensors, GGUFNames($0).place).tensors }
    config = try? ModelConfig(pair)
    if let id = pair.language["tokenizer.ggml.eos_token_id"]?.int { endOfGenerationIDs = [id] }
    if pair.projector?["clip.vision.image_mean"] != nil { processorPlace = "the projector file" }
  }

  private mutating func read(_ folder: Folder) {
    if let weights = try? RawWeights.folder(folder) {
      files = weights.files.map { ($0, Folder.bytes($0)) }
      tensors = RawWeights(weights.tensors, TensorNames.place).tensors
    }
    // The same order as in `ModelAssembly.processorConfig`.
    if (try? folder.json("processor_config.json"))?.present("image_processor") != nil {
      processorPlace = "processor_config.json"
    } else if folder.has("preprocessor_config.json") {
      processorPlace = "preprocessor_config.json"
    }
    guard let json = try? folder.json("config.json") else { return }
    let fields = FieldReader(json: json, place: folder.path("config.json"))
    config = try? ModelConfig(json: json, place: fields.place)
    endOfGenerationIDs = (try? ModelAssembly.endIDs(of: folder, fields)) ?? []
    tower = json["mm_vision_tower"]?.string
    tunesTower = json["unfreeze_mm_vision_tower"]?.bool == true
  }

  /// Whether the checkpoint's own files hold a vision tower.
  package var holdsTower: Bool {
    tensors.contains { $0.modelName?.hasPrefix("vision_tower.encoder.") == true }
  }
}
