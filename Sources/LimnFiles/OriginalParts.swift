import Foundation
import LimnTensor

/// What the original LLaVA layout keeps outside its checkpoint: the vision tower, a CLIP in a folder of its own
/// or in the Hugging Face cache, and sometimes the projector (mm_projector.bin).
enum OriginalParts {
  /// Adds tower and projector where the checkpoint has none inside, and sets the tower's config. A tower inside
  /// is never replaced: it may have been fine-tuned.
  /// - Returns: the tower's folder, which may hold its preprocessor_config.json; nil where it was not found.
  static func complete(
    _ config: inout ModelConfig, _ names: inout CanonicalTensors, _ folder: Folder, _ fields: ConfigReader
  ) throws(LimnError) -> Folder? {
    if !names.has("multi_modal_projector."), folder.has("mm_projector.bin") {
      let path = folder.path("mm_projector.bin")
      try names.add(try RawWeights.file(path), TensorNames.place, path)
    }
    guard let tower = try fields.string("mm_vision_tower") else { return nil }
    // What "patch" leaves out is the class token, which SigLIP does not have.
    defer { if config.vision?.hasClassToken == false { config.keepsClassToken = true } }
    let towerFolder = find(tower, from: folder)
    let isInside = names.has("vision_tower.encoder.")
    guard let towerFolder else {
      guard isInside else {
        throw LimnError(
          .notFound, "the vision tower \(tower) is not there", in: folder.path("config.json"),
          expected: "its folder beside or inside the model's, or in the Hugging Face cache",
          remedy:
            "fetch \(tower) (config.json, preprocessor_config.json and weights) into \(folder.path)/\(tower)")
      }
      config.vision = try VisionConfig(towerTensors: names.tensors, place: folder.path)
      return nil
    }
    config.vision = try visionConfig(towerFolder)
    if !isInside {
      let weights = try RawWeights.folder(towerFolder).tensors
      try names.add(weights, TensorNames.clip, towerFolder.path)
    }
    return towerFolder
  }

  /// The config of a CLIP's folder: a whole CLIP's, or the tower's alone.
  private static func visionConfig(_ folder: Folder) throws(LimnError) -> VisionConfig {
    guard let json = try folder.json("config.json") else {
      throw LimnError(.notFound, "the vision tower's folder has no config.json", in: folder.path)
    }
    let fields = ConfigReader(json: json, place: folder.path("config.json"))
    return try VisionConfig(try fields.object("vision_config") ?? fields)
  }

  /// Looks for the tower: as a path (a relative one starts at the model's folder), as a folder of its last name
  /// in or beside the model's, and in the Hugging Face cache.
  private static func find(_ tower: String, from folder: Folder) -> Folder? {
    let last = tower.split(separator: "/").last.map(String.init) ?? tower
    var places =
      tower.hasPrefix("/") ? [tower] : [folder.path(tower), folder.path(last), folder.path("../" + last)]
    places += cached(tower)
    return places.first { Folder(path: $0).has("config.json") }.map(Folder.init)
  }

  /// Snapshots of a repository in the Hugging Face cache.
  private static func cached(_ repository: String) -> [String] {
    let environment = ProcessInfo.processInfo.environment
    let home = environment["HF_HOME"] ?? (environment["HOME"] ?? "") + "/.cache/huggingface"
    let hub = environment["HF_HUB_CACHE"] ?? home + "/hub"
    let snapshots = Folder(path: "\(hub)/models--\(repository.replacing("/", with: "--"))/snapshots")
    return snapshots.names.map(snapshots.path)
  }
}

extension VisionConfig {
  /// From the shapes of a tower whose config is not there: heads have 64 values, but 72 in SigLIP's so400m.
  init(towerTensors tensors: [String: Tensor], place: String) throws(LimnError) {
    func shape(_ name: String, axes: Int) throws(LimnError) -> [Int] {
      guard let shape = tensors["vision_tower.\(name)"]?.shape, shape.count == axes else {
        throw LimnError.badData("the checkpoint's vision tower lacks \(name)", in: place)
      }
      return shape
    }
    let patches = try shape("embeddings.patch_embedding.weight", axes: 4)
    let positions = try shape("embeddings.position_embedding.weight", axes: 2)
    let fc1 = try shape("encoder.layers.0.mlp.fc1.weight", axes: 2)
    guard (2...1 << 20).contains(positions[0]), (1...1024).contains(patches[3]) else {
      throw LimnError.badData("the checkpoint's vision tower has impossible shapes", in: place)
    }
    let family =
      tensors["vision_tower.embeddings.class_embedding"] == nil ? VisionConfig.Family.siglip : .clip
    let base = family == .siglip ? VisionConfig.siglipDefault : .clipDefault
    let side = Int(Double(positions[0] - (base.hasClassToken ? 1 : 0)).squareRoot())
    let layers = tensors.keys.filter {
      $0.hasPrefix("vision_tower.encoder.layers.") && $0.hasSuffix(".mlp.fc1.weight")
    }.count
    let headSize = family == .siglip && patches[0] == 1152 ? 72 : 64
    self.init(
      family: family, hidden: patches[0], ffn: fc1[0], layers: layers, heads: max(1, patches[0] / headSize),
      imageSize: side * patches[3], patchSize: patches[3], activation: base.activation, epsilon: base.epsilon)
    try check(place)
  }
}
