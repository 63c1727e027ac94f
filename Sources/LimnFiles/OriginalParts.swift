import LimnCore
import LimnTensor

/// What the original LLaVA layout stores outside the checkpoint: the vision tower, which is a CLIP in its own folder
/// or in the Hugging Face cache, and sometimes the projector (mm_projector.bin).
enum OriginalParts {
  /// Adds the tower and the projector that the checkpoint lacks, and sets the tower's config. A tower inside the
  /// checkpoint is never replaced: it may be fine-tuned.
  /// - Returns: the tower's folder, which may hold its preprocessor_config.json; nil if it was not found.
  static func complete(
    _ config: inout ModelConfig, _ names: inout CanonicalWeights, _ folder: Folder, _ fields: FieldReader
  ) throws(LimnError) -> Folder? {
    if !names.has("multi_modal_projector."), folder.has("mm_projector.bin") {
      let path = folder.path("mm_projector.bin")
      try names.add(try RawWeights.file(path), TensorNames.place, path)
    }
    guard let tower = try fields.string("mm_vision_tower") else { return nil }
    let towerFolder = folder.related(tower)
    let isInside = names.has("vision_tower.encoder.")
    guard let towerFolder else {
      guard isInside else {
        throw towerMissing(tower, folder, namedBy: folder.path("config.json"))
      }
      config.vision = try VisionConfig(towerWeights: names.weights, place: folder.path)
      return nil
    }
    config.vision = try visionConfig(towerFolder)
    if !isInside {
      let weights = try RawWeights.folder(towerFolder).tensors
      try names.add(weights, TensorNames.clip, towerFolder.path)
    }
    return towerFolder
  }

  /// The config in a CLIP folder: of a whole CLIP, or of the tower alone.
  static func visionConfig(_ folder: Folder) throws(LimnError) -> VisionConfig {
    guard let json = try folder.json("config.json") else {
      throw LimnError(.notFound, "the vision tower's folder has no config.json", in: folder.path)
    }
    let fields = FieldReader(json: json, place: folder.path("config.json"))
    return try VisionConfig(try fields.object("vision_config") ?? fields)
  }

  static func towerMissing(_ tower: String, _ folder: Folder, namedBy place: String) -> LimnError {
    LimnError(
      .notFound, "the vision tower \(tower) is not there", in: place,
      expected: "its folder beside or inside the model's, or in the Hugging Face cache",
      remedy: "fetch \(tower) (config.json, preprocessor_config.json and weights) into \(folder.path(tower))")
  }

  /// Refuses a model without projector: its language model cannot read the tower's features.
  static func requireProjector(_ names: CanonicalWeights, _ folder: Folder) throws(LimnError) {
    if names.has("multi_modal_projector.") { return }
    throw LimnError(
      .notFound, "the projector is missing", in: folder.path,
      expected: "mm_projector.bin, non_lora_trainables.bin, or mm_projector among the weights",
      remedy: "fetch the missing file of this model")
  }
}

extension VisionConfig {
  /// A config derived from the tower's shapes, for a tower without one. Heads have 64 values (72 in SigLIP's so400m),
  /// and patches cover the whole image (all but a strip in so400m-patch14-384).
  init(towerWeights weights: [String: Weight], place: String) throws(LimnError) {
    func shape(_ name: String, axes: Int) throws(LimnError) -> [Int] {
      guard let shape = weights["vision_tower.\(name)"]?.shape, shape.count == axes else {
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
      weights["vision_tower.embeddings.class_embedding"] == nil ? VisionConfig.Family.siglip : .clip
    let base = family == .siglip ? VisionConfig.siglipDefault : .clipDefault
    let side = Int(Double(positions[0] - (base.hasClassToken ? 1 : 0)).squareRoot())
    let layers = weights.keys.filter {
      $0.hasPrefix("vision_tower.encoder.layers.") && $0.hasSuffix(".mlp.fc1.weight")
    }.count
    let isSo400m = family == .siglip && patches[0] == 1152
    // 27 patches of 14 pixels cover 378, but the image has 384.
    let hasStrip = isSo400m && patches[3] == 14 && positions[0] == 729
    self.init(
      family: family, hidden: patches[0], ffn: fc1[0], layers: layers,
      heads: max(1, patches[0] / (isSo400m ? 72 : 64)), imageSize: hasStrip ? 384 : side * patches[3],
      patchSize: patches[3], activation: base.activation, epsilon: base.epsilon)
    try check(place)
  }
}
