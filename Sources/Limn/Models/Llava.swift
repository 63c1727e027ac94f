// LLaVA: pictures become embeddings which stand among those of the text.
//
// What is worth knowing:
// - LLaVA-1.5: one tile per picture, its patch features through the projector, in reading order
// - LLaVA-NeXT (1.6): an overview tile, then a grid of tiles; the grid's features are laid out as one map, the
//   rows and columns that only cover padding are cut away, and every row of the map ends with `image_newline`
// - the language model sees embeddings only and cannot tell a picture's from a word's
//
// LLaVA-1.5: https://arxiv.org/abs/2310.03744, 1.6: https://llava-vl.github.io/blog/2024-01-30-llava-next/

package import LimnFiles
package import LimnImage
package import LimnCore
package import LimnTensor

package struct Llava: Sendable {
  package let config: ModelConfig
  package let language: any LanguageModel
  /// Nil in a checkpoint that holds a language model only.
  package let vision: VisionParts?
  /// Canonical names of tensors that the checkpoint has and this model does not read.
  package let unread: [String]

  package struct VisionParts: Sendable {
    let tower: VisionTower
    let projector: Projector
    /// Stands at the end of each row of an anyres map, [text hidden]; nil in LLaVA-1.5.
    let newline: Vector?
  }

  /// - Parameters:
  ///   - context: how many positions the rotary tables cover.
  ///   - quantization: of linear layers while they are read; nil: they stay as the checkpoint has them.
  ///   - checksOnly: makes a model that says whether the checkpoint is whole, but may not be able to compute.
  package init(
    _ checkpoint: Checkpoint, context: Int, quantization: Quantization?, cpu: CPU, checksOnly: Bool = false
  ) throws(LimnError) {
    var weights = WeightReader(checkpoint, quantization: quantization, cpu: cpu, checksOnly: checksOnly)
    config = checkpoint.config
    language = try ModelRegistry.languageModel(config.language, &weights, context: context)
    guard let visionConfig = config.vision, let projectorConfig = config.projector else {
      vision = nil
      unread = weights.unread
      return
    }
    let tower = try VisionTower(
      visionConfig, featureLayers: config.featureLayers, keepsClassToken: config.keepsClassToken, &weights)
    guard config.family == .llava || tower.featureCount == tower.patchesPerSide * tower.patchesPerSide else {
      throw .badData(
        "LLaVA-NeXT's tiles cannot be laid out, because vision_feature_select_strategy does not leave one feature "
          + "per patch",
        in: checkpoint.reference, expected: "\(tower.patchesPerSide * tower.patchesPerSide) features",
        found: "\(tower.featureCount)")
    }
    let hidden = config.language.hidden
    vision = VisionParts(
      tower: tower,
      projector: try Projector(projectorConfig, inputs: tower.featureWidth, outputs: hidden, &weights),
      newline: config.family == .llavaNext ? try weights.vector("image_newline", count: hidden) : nil)
    unread = weights.unread
  }
}

/// A picture as the language model reads it: [imageTokens, hidden], kept for as long as it may be asked about.
// @unchecked: written once by `Llava.encode`, never after.
package final class ImageEmbedding: @unchecked Sendable {
  /// Which picture it is.
  package let key: ImageKey
  package let rows: Int
  package let width: Int
  package let values: UnsafeMutableBufferPointer<Float>

  init(_ key: ImageKey, rows: Int, width: Int) {
    self.key = key
    self.rows = rows
    self.width = width
    values = .allocate(capacity: rows * width)
  }

  deinit { values.deallocate() }

  var bytes: Int { values.count * MemoryLayout<Float>.stride }
  var activations: Activations { Activations(pointer: values.baseAddress!, rows: rows, width: width) }
}

extension Llava {
  /// How many tokens a picture takes, before it is encoded.
  package func imageTokens(_ image: ProcessedImage) -> Int {
    guard let vision else { return 0 }
    let tower = vision.tower
    guard vision.newline != nil else { return tower.featureCount * image.tiles }
    guard let grid = image.grid, image.tiles > 1 else { return tower.featureCount + 1 }
    return AnyRes.imageTokens(
      originalSize: image.originalSize, grid: grid, patchesPerSide: tower.patchesPerSide)
  }

  /// Pixels to embeddings.
  /// - Parameter progress: is told after each tile how many of them are done.
  package func encode(
    _ image: ProcessedImage, _ step: Step, progress: (Int) throws(LimnError) -> Void = { _ in }
  ) throws(LimnError) -> ImageEmbedding {
    guard let vision else {
      throw .badData(
        "this model has no vision tower, so it cannot look at pictures",
        remedy: "name a LLaVA checkpoint, or for a GGUF its projector file with --mmproj")
    }
    let side = vision.tower.config.imageSize
    guard image.height == side, image.width == side else {
      throw .badData(
        "the image processor makes pictures of another size than the vision tower reads",
        expected: "\(side)×\(side)", found: "\(image.width)×\(image.height)",
        remedy: "check preprocessor_config.json")
    }
    let result = ImageEmbedding(ImageKey(image), rows: imageTokens(image), width: config.language.hidden)
    try step.scratch.frame { () throws(LimnError) in
      let perTile = vision.tower.featureCount
      let tiles = step.scratch.take(rows: image.tiles * perTile, width: config.language.hidden)
      for tile in 0..<image.tiles {
        step.scratch.frame {
          let features = step.scratch.take(rows: perTile, width: vision.tower.featureWidth)
          image.pixels.withUnsafeBufferPointer {
            vision.tower.encode($0.baseAddress! + tile * 3 * side * side, into: features, step)
          }
          vision.projector.forward(features, into: tiles.rows(tile * perTile..<(tile + 1) * perTile), step)
        }
        try progress(tile + 1)
      }
      arrange(tiles, of: image, vision, into: result.activations)
    }
    return result
  }

  /// Puts the tiles' embeddings in the order in which the language model reads them.
  private func arrange(
    _ tiles: Activations, of image: ProcessedImage, _ vision: VisionParts, into result: Activations
  ) {
    let width = tiles.width
    func copy(_ source: UnsafePointer<Float>, to row: Int) {
      (result.pointer + row * width).update(from: source, count: width)
    }
    guard let newline = vision.newline else {
      return result.pointer.update(from: tiles.pointer, count: tiles.rows * width)
    }
    let perTile = vision.tower.featureCount
    for row in 0..<perTile { copy(tiles.pointer + row * width, to: row) }
    guard let map = featureMap(image, vision), let grid = image.grid else {
      return copy(newline.values.baseAddress!, to: perTile)
    }
    let side = vision.tower.patchesPerSide
    var next = perTile
    for y in map.rows {
      for x in map.columns {
        let tile = 1 + y / side * grid.columns + x / side
        copy(tiles.pointer + (tile * perTile + y % side * side + x % side) * width, to: next)
        next += 1
      }
      copy(newline.values.baseAddress!, to: next)
      next += 1
    }
  }

  /// The part of the anyres feature map that shows the picture; nil where there is an overview only.
  private func featureMap(
    _ image: ProcessedImage, _ vision: VisionParts
  ) -> (rows: Range<Int>, columns: Range<Int>)? {
    guard let grid = image.grid, image.tiles > 1 else { return nil }
    return AnyRes.unpaddedFeatureGrid(
      originalSize: image.originalSize, grid: grid, patchesPerSide: vision.tower.patchesPerSide)
  }
}
