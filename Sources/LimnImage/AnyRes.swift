/// The arithmetic of LLaVA-NeXT's any-resolution images, on which pixels and image tokens must agree. Source:
/// transformers' `image_processing_utils` and `modeling_llava_next`.
package enum AnyRes {
  /// The layout of an image's tiles.
  package struct Grid: Sendable, Equatable {
    package var rows: Int
    package var columns: Int

    package init(rows: Int, columns: Int) {
      self.rows = rows
      self.columns = columns
    }

    package var tiles: Int { rows * columns }
  }

  /// The resolution that keeps most of the image's pixels and, of those, wastes the fewest of its own; the
  /// first of equals.
  package static func bestResolution(for original: PixelSize, among pinpoints: [PixelSize]) -> PixelSize {
    precondition(!pinpoints.isEmpty, "no pinpoints")
    var best = pinpoints[0]
    var maxKept = 0
    var leastWasted = Int.max
    for size in pinpoints {
      let scale = min(
        Double(size.width) / Double(original.width), Double(size.height) / Double(original.height))
      let scaled = Int(Double(original.width) * scale) * Int(Double(original.height) * scale)
      let kept = min(scaled, original.width * original.height)
      let wasted = size.width * size.height - kept
      if kept > maxKept || (kept == maxKept && wasted < leastWasted) {
        (best, maxKept, leastWasted) = (size, kept, wasted)
      }
    }
    return best
  }

  /// The image's size when scaled into `target` with its aspect ratio kept; the free side is rounded up.
  static func fittedSize(of original: PixelSize, in target: PixelSize) -> PixelSize {
    let scaleX = Double(target.width) / Double(original.width)
    let scaleY = Double(target.height) / Double(original.height)
    return scaleX < scaleY
      ? PixelSize(
        height: min(Int((Double(original.height) * scaleX).rounded(.up)), target.height), width: target.width)
      : PixelSize(
        height: target.height, width: min(Int((Double(original.width) * scaleY).rounded(.up)), target.width))
  }

  /// The tiles that cover a resolution; tiles at the edge may be smaller.
  package static func grid(of size: PixelSize, tileSide: Int) -> Grid {
    Grid(rows: (size.height + tileSide - 1) / tileSide, columns: (size.width + tileSide - 1) / tileSide)
  }

  /// The rows and columns of the assembled tiles' feature map that show the image, not the black padding.
  ///
  /// - Parameter patchesPerSide: features along a tile's side.
  package static func unpaddedFeatureGrid(
    originalSize: PixelSize, grid: Grid, patchesPerSide: Int
  ) -> (rows: Range<Int>, columns: Range<Int>) {
    let height = grid.rows * patchesPerSide
    let width = grid.columns * patchesPerSide
    let (originalHeight, originalWidth) = (Double(originalSize.height), Double(originalSize.width))
    if originalWidth / originalHeight > Double(width) / Double(height) {
      let shown = truncated(originalHeight * (Double(width) / originalWidth))
      let padding = (height - shown) / 2
      return (padding..<(height - padding), 0..<width)
    }
    let shown = truncated(originalWidth * (Double(height) / originalHeight))
    let padding = (width - shown) / 2
    return (0..<height, padding..<(width - padding))
  }

  /// The number of tokens of an image: the overview's features, the unpadded features of the tiles, and one
  /// newline after each row of those.
  package static func imageTokens(originalSize: PixelSize, grid: Grid, patchesPerSide: Int) -> Int {
    let shown = unpaddedFeatureGrid(originalSize: originalSize, grid: grid, patchesPerSide: patchesPerSide)
    return patchesPerSide * patchesPerSide + shown.rows.count * (shown.columns.count + 1)
  }

  /// Python's int(round(value, 7)): truncates, except that values within half a unit in the 7th decimal of
  /// the next integer round up.
  private static func truncated(_ value: Double) -> Int {
    let whole = value.rounded(.down)
    return Int(whole) + (value - whole > 1 - 5e-8 ? 1 : 0)
  }
}
