import LimnImage
import Testing

@Suite("LLaVA-NeXT's arithmetic")
struct AnyResTests {
  static let lists: [[PixelSize]] = [
    pinpoints([(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]),
    pinpoints([(56, 112), (112, 56), (112, 112), (168, 56), (56, 168)]),
    (1...6).flatMap { a in (1...6).map { b in PixelSize(height: 384 * a, width: 384 * b) } },
  ]

  @Test("resolution, unpadded features and tokens match transformers'")
  func arithmetic() {
    #expect(ImageCases.all.anyres.count > 100)
    for row in ImageCases.all.anyres {
      let original = PixelSize(height: row[0], width: row[1])
      let best = AnyRes.bestResolution(for: original, among: Self.lists[row[4]])
      #expect(best == PixelSize(height: row[2], width: row[3]), "\(original)")
      let grid = AnyRes.grid(of: best, tileSide: row[5])
      let shown = AnyRes.unpaddedFeatureGrid(originalSize: original, grid: grid, patchesPerSide: row[6])
      #expect(shown.rows == row[7]..<row[8] && shown.columns == row[9]..<row[10], "\(original)")
      #expect(AnyRes.imageTokens(originalSize: original, grid: grid, patchesPerSide: row[6]) == row[11])
    }
  }
}
