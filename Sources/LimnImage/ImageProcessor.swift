package import LimnCore

package struct PixelSize: Sendable, Equatable {
  package var height: Int
  package var width: Int

  package init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }
}

/// What becomes of a picture that is not square.
public enum PreprocessPolicy: String, Sendable, CaseIterable {
  /// As the model was trained, as far as the checkpoint tells.
  case trained
  /// What the configuration makes transformers do.
  case hf
  /// The shorter side to the model's size, then the middle.
  case crop
  /// A square around the picture in the tower's mean colour, then as `crop`.
  case pad
  /// Straight to the model's size, whatever happens to the proportions.
  case stretch
}

/// Makes a vision tower's input of a picture, as a model's preprocessor_config.json says or as one of the
/// other habits among LLaVA's users.
///
/// The reference is transformers' PIL processors: `CLIPImageProcessorPil`, `LlavaImageProcessorPil`,
/// `LlavaNextImageProcessorPil`. Pixels are theirs to the last bit.
package struct ImageProcessor: Sendable {
  /// The names of preprocessor_config.json; the defaults are those of CLIP-L/14 at 336 pixels.
  package struct Configuration: Sendable, Equatable {
    package enum Kind: Sendable { case clip, siglip, llava, llavaNext }

    package enum Size: Sendable, Equatable {
      /// The shorter side; the longer one keeps the proportion, cut to whole pixels.
      case shortestEdge(Int)
      case exact(PixelSize)
    }

    package var kind = Kind.clip
    /// Lay a picture's transparent colour on white.
    package var doConvertRGB = true
    package var doResize = true
    package var size = Size.shortestEdge(336)
    package var resample = Resampling.bicubic
    package var doCenterCrop = true
    package var cropSize = PixelSize(height: 336, width: 336)
    package var doRescale = true
    package var rescaleFactor = 0.00392156862745098
    package var doNormalize = true
    /// Per channel: red, green, blue.
    package var mean = [0.48145466, 0.4578275, 0.40821073]
    package var std = [0.26862954, 0.26130258, 0.27577711]
    /// `.llava` only: pad to a square in the colour of `mean` before anything else.
    package var doPad = false
    /// What the policy `pad` lays around a picture: 255 · the tower's mean, whatever `mean` is.
    package var padColour: [UInt8] = [122, 116, 104]
    /// `.llavaNext` only: `image_grid_pinpoints`, in the file's order, which decides between equals.
    package var gridPinpoints: [PixelSize] = []
    /// What the policy `trained` stands for.
    package var trained = PreprocessPolicy.hf

    package init() {}

    /// What SigLIP's own processor does: straight to the tower's size, colours from −1 to 1.
    package static func siglip(side: Int) -> Configuration {
      var configuration = Configuration()
      configuration.kind = .siglip
      configuration.size = .exact(PixelSize(height: side, width: side))
      configuration.doCenterCrop = false
      configuration.mean = [0.5, 0.5, 0.5]
      configuration.std = [0.5, 0.5, 0.5]
      configuration.padColour = [127, 127, 127]
      return configuration
    }

    /// The pixels that the vision tower takes.
    package var modelSize: PixelSize {
      switch size {
      case _ where doCenterCrop: cropSize
      case .exact(let size): size
      case .shortestEdge(let side): PixelSize(height: side, width: side)
      }
    }
  }

  package let configuration: Configuration

  /// The longest side of anything that a configuration may ask for.
  private static let longestSide = 4096
  /// The most pixels that one picture may have after resizing.
  private static let maxPixels = 1 << 24

  private static let highestPadded = 32_768

  /// - Throws: `badData` for a configuration that no picture could be processed by.
  package init(_ configuration: Configuration) throws(LimnError) {
    let place = "the image processor's configuration"
    var sizes = configuration.gridPinpoints + [configuration.cropSize, configuration.modelSize]
    if case .shortestEdge(let side) = configuration.size {
      sizes.append(PixelSize(height: side, width: side))
    }
    let allowed = 1...Self.longestSide
    for size in sizes where !allowed.contains(size.height) || !allowed.contains(size.width) {
      throw .badData(
        "an impossible picture size", in: place, expected: "1 to \(Self.longestSide) pixels a side",
        found: "\(size.height) × \(size.width)")
    }
    guard configuration.mean.count == 3, configuration.std.count == 3 else {
      throw .badData(
        "image_mean and image_std do not fit the picture's channels", in: place, expected: "3 and 3 values",
        found: "\(configuration.mean.count) and \(configuration.std.count)")
    }
    guard (configuration.mean + configuration.std + [configuration.rescaleFactor]).allSatisfy(\.isFinite),
      configuration.std.allSatisfy({ Float($0) != 0 })
    else {
      throw .badData("image_mean, image_std or rescale_factor cannot be used", in: place)
    }
    guard configuration.kind != .llavaNext || !configuration.gridPinpoints.isEmpty else {
      throw .badData("image_grid_pinpoints is empty", in: place)
    }
    self.configuration = configuration
  }

  /// - Throws: `badData` where the configuration leaves a picture of this size too large, or tiles unequal,
  ///   and for a picture too narrow to be padded.
  package func process(_ picture: RGBImage, policy: PreprocessPolicy = .trained) throws(LimnError)
    -> ProcessedImage
  {
    let original = PixelSize(height: picture.height, width: picture.width)
    let used = policy == .trained && configuration.trained != .trained ? configuration.trained : policy
    switch used {
    case .crop:
      return try pack([scaleAndCrop(Canvas(converted(picture)))], original)
    case .pad:
      return try pack([scaleAndCrop(squared(picture, configuration.padColour))], original)
    case .stretch:
      let size = configuration.modelSize
      return try pack([stretch(picture, to: size, .bicubic)], original)
    case .hf, .trained:
      let picture = converted(picture)
      if configuration.kind == .llavaNext { return try tiles(of: picture) }
      let padded = configuration.kind == .llava && configuration.doPad
      let ground = configuration.mean.map { UInt8(max(0, min(255, $0 * 255))) }
      return try pack([configured(padded ? squared(picture, ground) : Canvas(picture))], original)
    }
  }

  // MARK: Steps

  /// do_convert_rgb. `load_image` drops alpha, but a single transparent colour stays known beside the pixels,
  /// and transformers' processors then lay the picture on white.
  private func converted(_ picture: RGBImage) -> RGBImage {
    configuration.doConvertRGB ? picture.onWhite() : picture
  }

  /// The rows of a tall picture are resampled with the ground beside them, which has to end in finite time.
  private func squared(_ picture: RGBImage, _ colour: [UInt8]) throws(LimnError) -> Canvas {
    guard picture.height <= max(picture.width, Self.highestPadded) else {
      throw .badData(
        "the picture is too narrow to be padded to a square", expected: "at most \(Self.highestPadded) rows",
        found: "\(picture.width) × \(picture.height)", remedy: "use --preprocess crop")
    }
    return Canvas(squareAround: picture, colour: colour)
  }

  /// do_resize and do_center_crop, as the configuration has them.
  private func configured(_ canvas: Canvas) throws(LimnError) -> RGBImage {
    let target = configuration.doResize ? scaled(canvas.size, to: configuration.size) : canvas.size
    return try center(
      configuration.doCenterCrop ? configuration.cropSize : target, of: canvas, scaledTo: target,
      configuration.resample)
  }

  /// The policy `crop`, whatever the configuration does.
  private func scaleAndCrop(_ canvas: Canvas) throws(LimnError) -> RGBImage {
    let size = configuration.modelSize
    var side = max(size.height, size.width)
    if case .shortestEdge(let edge) = configuration.size { side = edge }
    return try center(size, of: canvas, scaledTo: scaled(canvas.size, to: .shortestEdge(side)), .bicubic)
  }

  func stretch(_ picture: RGBImage, to size: PixelSize, _ filter: Resampling) -> RGBImage {
    Canvas(picture).resampled(to: size, window: size, top: 0, left: 0, filter: filter)
  }

  private func center(
    _ window: PixelSize, of canvas: Canvas, scaledTo target: PixelSize, _ filter: Resampling
  ) throws(LimnError) -> RGBImage {
    guard window.height * window.width <= Self.maxPixels else {
      throw .badData(
        "the picture is too large for this image processor, which does not crop",
        expected: "at most \(Self.maxPixels) pixels after resizing",
        found: "\(window.width) × \(window.height)", remedy: "use --preprocess crop")
    }
    // Rounded down, below zero too: a picture smaller than the window has the odd pixel before it.
    let top = (target.height - window.height) >> 1
    let left = (target.width - window.width) >> 1
    return canvas.resampled(to: target, window: window, top: top, left: left, filter: filter)
  }

  private func scaled(_ from: PixelSize, to size: Configuration.Size) -> PixelSize {
    switch size {
    case .exact(let size):
      return size
    case .shortestEdge(let side):
      let short = min(from.height, from.width)
      let long = Int(Double(side * max(from.height, from.width)) / Double(short))
      return from.width <= from.height
        ? PixelSize(height: long, width: side) : PixelSize(height: side, width: long)
    }
  }

  // MARK: LLaVA-NeXT

  /// The whole picture, stretched, and the tiles of the pinpoint that suits it best, in which it is centred
  /// on black; then each as a picture of its own.
  private func tiles(of picture: RGBImage) throws(LimnError) -> ProcessedImage {
    let original = PixelSize(height: picture.height, width: picture.width)
    let best = AnyRes.bestResolution(for: original, among: configuration.gridPinpoints)
    let fitted = AnyRes.fittedSize(of: original, in: best)
    let overview: PixelSize
    switch configuration.size {
    case .shortestEdge(let side): overview = PixelSize(height: side, width: side)
    case .exact(let size): overview = size
    }
    let side = configuration.cropSize.height
    let grid = AnyRes.grid(of: best, tileSide: side)
    let tile = configuration.modelSize
    guard grid.tiles * tile.height * tile.width <= Self.maxPixels else {
      throw .badData(
        "image_grid_pinpoints asks for too many tiles", found: "\(grid.rows) × \(grid.columns)")
    }
    let whole = Canvas(picture).resampled(
      to: fitted, window: best, top: -((best.height - fitted.height) / 2),
      left: -((best.width - fitted.width) / 2), filter: configuration.resample)
    var parts = [stretch(picture, to: overview, configuration.resample)]
    for top in stride(from: 0, to: best.height, by: side) {
      for left in stride(from: 0, to: best.width, by: side) {
        let size = PixelSize(height: min(side, best.height - top), width: min(side, best.width - left))
        parts.append(
          Canvas(whole).resampled(
            to: best, window: size, top: top, left: left, filter: configuration.resample))
      }
    }
    var made: [RGBImage] = []
    for part in parts { made.append(try configured(Canvas(part))) }
    return try pack(made, original, grid: grid)
  }

  // MARK: Numbers

  /// Rescales and normalises. A channel has 256 values, so that a table holds all the arithmetic: the product
  /// with the factor in double precision, the rest in single, as numpy does it for transformers.
  private func pack(
    _ parts: [RGBImage], _ original: PixelSize, grid: AnyRes.Grid? = nil
  ) throws(LimnError) -> ProcessedImage {
    let (height, width) = (parts[0].height, parts[0].width)
    guard parts.allSatisfy({ $0.height == height && $0.width == width }) else {
      throw .badData(
        "tiles of unequal size", in: "the image processor's configuration",
        remedy: "image_grid_pinpoints have to be multiples of crop_size")
    }
    let table: [[Float]] = (0..<3).map { channel in
      (0..<256).map { value in
        let factor = configuration.doRescale ? configuration.rescaleFactor : 1
        let scaled = Float(Double(value) * factor)
        guard configuration.doNormalize else { return scaled }
        return (scaled - Float(configuration.mean[channel])) / Float(configuration.std[channel])
      }
    }
    let plane = height * width
    let count = parts.count * 3 * plane
    let pixels = [Float](unsafeUninitializedCapacity: count) { out, initialised in
      for (tile, part) in parts.enumerated() {
        part.pixels.withUnsafeBufferPointer { bytes in
          for channel in 0..<3 {
            table[channel].withUnsafeBufferPointer { values in
              let start = (tile * 3 + channel) * plane
              for i in 0..<plane { out[start + i] = values[Int(bytes[3 * i + channel])] }
            }
          }
        }
      }
      initialised = count
    }
    return ProcessedImage(
      tiles: parts.count, height: height, width: width, pixels: pixels, originalSize: original, grid: grid)
  }
}

/// What a vision tower is given of one picture.
package struct ProcessedImage: Sendable {
  package let tiles: Int
  package let height: Int
  package let width: Int
  /// [tiles, 3, height, width], normalised; with a grid, the overview first, then the tiles row by row.
  package let pixels: [Float]
  /// The upright picture's size.
  package let originalSize: PixelSize
  /// LLaVA-NeXT only: how the tiles after the overview lie.
  package let grid: AnyRes.Grid?

  /// What the model saw, for people: "640 × 480 as 336 × 336".
  package func describe() -> String {
    let line = "\(originalSize.width) × \(originalSize.height) as \(width) × \(height)"
    guard let grid else { return line }
    return line + ", whole and in \(grid.rows) × \(grid.columns) tiles"
  }
}
