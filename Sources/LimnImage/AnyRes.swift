/// The arithmetic of LLaVA-NeXT's pictures of any resolution, where pixels and the model's image tokens have
/// to agree. Source: transformers' `image_processing_utils` and `modeling_llava_next`.
package enum AnyRes {
  /// How many tiles a picture is cut into.
  package struct Grid: Sendable, Equatable {
    package var rows: Int
    package var columns: Int

    package init(rows: Int, columns: Int) {
      self.rows = rows
      self.columns = columns
    }

    package var tiles: Int { rows * columns }
  }

  /// The resolution that keeps most of the picture's pixels, and among those the one that wastes fewest of its
  /// own; the first among equals.
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

  /// The picture's size after scaling into `target` with its proportions kept, the free side rounded up.
  static func fittedSize(of original: PixelSize, in target: PixelSize) -> PixelSize {
    let scaleX = Double(target.width) / Double(original.width)
    let scaleY = Double(target.height) / Double(original.height)
    return scaleX < scaleY
      ? PixelSize(
        height: min(Int((Double(original.height) * scaleX).rounded(.up)), target.height), width: target.width)
      : PixelSize(
        height: target.height, width: min(Int((Double(original.width) * scaleY).rounded(.up)), target.width))
  }

  /// The tiles of a resolution; those at the edge may be smaller.
  package static func grid(of size: PixelSize, tileSide: Int) -> Grid {
    Grid(rows: (size.height + tileSide - 1) / tileSide, columns: (size.width + tileSide - 1) / tileSide)
  }

  /// The rows and columns of the tiles' assembled feature map that show the picture rather than the black
  /// ground around it.
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

  /// Tokens of a picture: the overview's features, the unpadded features of the tiles, and a newline after
  /// each of their rows.
  package static func imageTokens(originalSize: PixelSize, grid: Grid, patchesPerSide: Int) -> Int {
    let shown = unpaddedFeatureGrid(originalSize: originalSize, grid: grid, patchesPerSide: patchesPerSide)
    return patchesPerSide * patchesPerSide + shown.rows.count * (shown.columns.count + 1)
  }

  /// Python's int(round(value, 7)): cut to a whole number, but not for want of half a unit in the 7th place.
  private static func truncated(_ value: Double) -> Int {
    let whole = value.rounded(.down)
    return Int(whole) + (value - whole > 1 - 5e-8 ? 1 : 0)
  }
}
