// LLaVA: images become embeddings, which take their places among those of the text.
//
// What is worth knowing:
// - LLaVA-1.5: one tile per image, whose patch features pass through the projector in reading order
// - LLaVA-NeXT (1.6): an overview tile, then a grid of tiles. The grid's features form one map; the rows and columns
//   that cover only padding are cut away, and every row of the map ends with `image_newline`
// - the language model sees only embeddings, and cannot tell an image's from a word's
//
// LLaVA-1.5: https://arxiv.org/abs/2310.03744, 1.6: https://llava-vl.github.io/blog/2024-01-30-llava-next/

package import LimnFiles
package import LimnImage
package import LimnCore
package import LimnTensor

package struct Llava: Sendable {
  package let config: ModelConfig
  package let language: any LanguageModel
  /// Where images are encoded and logits are computed.
  package let backend: any Backend
  /// Nil if the checkpoint holds only a language model.
  package let vision: VisionParts?
  /// Canonical names of tensors in the checkpoint that this model does not read.
  package let unread: [String]

  package struct VisionParts: Sendable {
    let tower: VisionTower
    let projector: Projector
    /// Ends each row of an anyres map, [text hidden]; nil in LLaVA-1.5.
    let newline: Vector?
  }

  /// - Parameters:
  ///   - context: how many positions the rotary tables cover.
  ///   - quantization: applied to linear layers while they are read; nil: they keep the checkpoint's types.
  ///   - cpu: combines weights that the files hold in parts, and computes whatever has no other placement.
  ///   - placement: which backend computes each layer; nil: `cpu` computes everything.
  ///   - checksOnly: makes a model that shows whether the checkpoint is complete, but may be unable to compute.
  package init(
    _ checkpoint: Checkpoint, context: Int, quantization: LoadQuantization?, cpu: CPU, placement: Placement? = nil,
    checksOnly: Bool = false, watch: OpeningWatch = OpeningWatch()
  ) throws(LimnError) {
    config = checkpoint.config
    let placement = placement ?? Placement(cpu, layers: config.language.layers)
    backend = placement.backends[placement.tables]
    var weights = WeightReader(
      checkpoint, quantization: quantization, cpu: cpu, backend: backend, checksOnly: checksOnly, watch: watch)
    language = try ModelRegistry.languageModel(config.language, &weights, context: context, placement: placement)
    guard let visionConfig = config.vision, let projectorConfig = config.projector else {
      vision = nil
      unread = weights.unread
      return
    }
    let tower = try VisionTower(
      visionConfig, featureLayers: config.featureLayers, keepsClassToken: config.keepsClassToken, &weights)
    guard config.family == .llava || tower.featureCount == tower.patchesPerSide * tower.patchesPerSide else {
      throw .badData(
        """
        LLaVA-NeXT's tiles cannot be laid out, because vision_feature_select_strategy does not leave one feature per \
        patch
        """,
        in: checkpoint.reference, expected: "\(tower.patchesPerSide * tower.patchesPerSide) features",
        found: "\(tower.featureCount)")
    }
    let hidden = config.language.hidden
    vision = VisionParts(
      tower: tower,
      projector: try Projector(projectorConfig, inputs: tower.featureWidth, outputs: hidden, &weights),
      newline: config.family == .llavaNext ? try weights.vector("image_newline", count: hidden) : nil)
    unread = weights.unread
    try weights.requireAdaptersUsed()
  }

  /// A language model without a vision tower.
  package init(_ language: any LanguageModel) {
    config = ModelConfig(language: language.config)
    self.language = language
    backend = language.placement.backends[language.placement.tables]
    vision = nil
    unread = []
  }
}

/// An image as the language model sees it: [imageTokens, hidden], kept for as long as questions about it may come.
package final class ImageEmbedding: Sendable {
  /// Identifies the image.
  package let key: ImageKey
  package let rows: Int
  package let width: Int
  /// Row-major, in the host's memory.
  package let values: [Float]

  package init(_ key: ImageKey, rows: Int, width: Int, values: [Float]) {
    precondition(values.count == rows * width)
    self.key = key
    self.rows = rows
    self.width = width
    self.values = values
  }

  var bytes: Int { values.count * MemoryLayout<Float>.stride }
}

extension Llava {
  /// How many tokens an image takes, known before it is encoded.
  package func imageTokens(_ image: ProcessedImage) -> Int {
    guard let vision else { return 0 }
    let tower = vision.tower
    guard vision.newline != nil else { return tower.featureCount * image.tiles }
    guard let grid = image.grid, image.tiles > 1 else { return tower.featureCount + 1 }
    return AnyRes.imageTokens(
      originalSize: image.originalSize, grid: grid, patchesPerSide: tower.patchesPerSide)
  }
}
