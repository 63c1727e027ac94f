import LimnFiles
package import LimnCore
package import LimnImage
import LimnTensor

/// Encodes one image through the vision tower and the projector, a slice at a time, so that decoding sequences need not
/// wait for a whole image.
// Not Sendable: it lives in the engine's actor.
package final class ImageEncoding {
  package let key: ImageKey
  private let image: ProcessedImage
  private let model: Llava
  private let vision: Llava.VisionParts
  /// The memory of everything that lives from slice to slice.
  private let kept: Scratch
  private let x: Activations  // [tower rows, vision hidden]
  private let features: Activations  // [features per tile, feature width]
  private let embeddings: Activations  // [tiles · features per tile, hidden]
  private var slice = 0

  /// - Throws: bad data for a model without a vision tower, and for an image whose size is not the one the tower
  ///   expects.
  package init(_ image: ProcessedImage, _ model: Llava) throws(LimnError) {
    guard let vision = model.vision else {
      throw .badData(
        code: .invalidPrompt, "this model has no vision tower, so it cannot look at pictures",
        remedy: "name a LLaVA checkpoint, or for a GGUF its projector file with \(.projector)")
    }
    let side = vision.tower.config.imageSize
    guard image.height == side, image.width == side else {
      throw .badData(
        code: .modelUnreadable, "the image processor makes pictures of another size than the vision tower reads",
        expected: "\(side)×\(side)", found: "\(image.width)×\(image.height)",
        remedy: "check preprocessor_config.json")
    }
    key = ImageKey(image)
    self.image = image
    self.model = model
    self.vision = vision
    kept = Scratch(model.backend)
    let tower = vision.tower
    x = kept.take(rows: tower.rows, width: tower.config.hidden)
    features = kept.take(rows: tower.featureCount, width: tower.featureWidth)
    embeddings = kept.take(rows: image.tiles * tower.featureCount, width: model.config.language.hidden)
  }

  /// The slices of one tile: the tower's stages, then the projector.
  private var slicesPerTile: Int { vision.tower.stages + 1 }
  package var tiles: Int { image.tiles }
  package var tilesDone: Int { slice / slicesPerTile }
  package var slicesLeft: Int { image.tiles * slicesPerTile - slice }

  /// Computes the next slice.
  package func advance(_ step: Step) {
    let tile = slice / slicesPerTile, stage = slice % slicesPerTile
    let perTile = features.rows
    if stage < vision.tower.stages {
      let pixels = 3 * image.height * image.width
      image.pixels.withUnsafeBufferPointer { all in
        vision.tower.forward(
          stage: stage, UnsafeBufferPointer(rebasing: all[tile * pixels..<(tile + 1) * pixels]), x, into: features,
          step)
      }
    } else {
      vision.projector.forward(features, into: embeddings.rows(tile * perTile..<(tile + 1) * perTile), step)
    }
    slice += 1
  }

  /// The embeddings. Call this once no slice is left.
  package func finish(_ step: Step) -> ImageEmbedding {
    precondition(slicesLeft == 0)
    let rows = model.imageTokens(image), width = embeddings.width
    let values = step.scratch.frame {
      let result = step.scratch.take(rows: rows, width: width)
      step.backend.submit { arrange(into: result, step) }
      return [Float](unsafeUninitializedCapacity: rows * width) { values, count in
        step.backend.read(result, into: UnsafeMutableBufferPointer(rebasing: values[..<(rows * width)]))
        count = rows * width
      }
    }
    return ImageEmbedding(key, rows: rows, width: width, values: values)
  }

  /// Puts the tiles' embeddings in the order that the language model expects.
  private func arrange(into result: Activations, _ step: Step) {
    func copy(_ source: Activations, to row: Int) {
      step.backend.copy(source, into: result.rows(row..<row + source.rows))
    }
    guard let newline = vision.newline?.rows(width: result.width) else { return copy(embeddings, to: 0) }
    let perTile = features.rows
    copy(embeddings.rows(0..<perTile), to: 0)
    guard let grid = image.grid, image.tiles > 1 else { return copy(newline, to: perTile) }
    let side = vision.tower.patchesPerSide
    let map = AnyRes.unpaddedFeatureGrid(originalSize: image.originalSize, grid: grid, patchesPerSide: side)
    var next = perTile
    for y in map.rows {
      // A row of the map crosses all tiles that lie side by side.
      var column = map.columns.lowerBound
      while column < map.columns.upperBound {
        let tile = 1 + y / side * grid.columns + column / side
        let count = min(side - column % side, map.columns.upperBound - column)
        let first = tile * perTile + y % side * side + column % side
        copy(embeddings.rows(first..<first + count), to: next)
        (column, next) = (column + count, next + count)
      }
      copy(newline, to: next)
      next += 1
    }
  }
}
