package import LimnCore

package struct PixelSize: Sendable, Equatable {
  package var height: Int
  package var width: Int

  package init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }
}

/// How to fit an image into the model's square.
public enum PreprocessPolicy: String, Sendable, CaseIterable {
  /// As the model was trained, as far as the checkpoint tells.
  case trained
  /// As transformers does it with this configuration.
  case hf
  /// Scale the shorter side to the model's size, then crop the centre.
  case crop
  /// Pad to a square with the tower's mean colour, then proceed as `crop`.
  case pad
  /// Scale to the model's size without keeping the aspect ratio.
  case stretch
}

/// Turns an image into a vision tower's input, as a model's preprocessor_config.json says or by one of the
/// other conventions among LLaVA's users.
///
/// The reference is transformers' PIL processors: `CLIPImageProcessorPil`, `LlavaImageProcessorPil`,
/// `LlavaNextImageProcessorPil`. Pixels match theirs bit for bit.
package struct ImageProcessor: Sendable {
  /// The fields of preprocessor_config.json; the defaults are those of CLIP-L/14 at 336 pixels.
  package struct Configuration: Sendable, Equatable {
    package enum Kind: Sendable { case clip, siglip, llava, llavaNext }

    package enum Size: Sendable, Equatable {
      /// The shorter side; the longer one keeps the aspect ratio, truncated to whole pixels.
      case shortestEdge(Int)
      case exact(PixelSize)
    }

    package var kind = Kind.clip
    /// Replace an image's transparent colour by white.
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
    /// The colour of the policy `pad`: 255 · the tower's mean, whatever `mean` is.
    package var padColour: [UInt8] = [122, 116, 104]
    /// `.llavaNext` only: `image_grid_pinpoints` in the file's order, which breaks ties.
    package var gridPinpoints: [PixelSize] = []
    /// The policy that `trained` stands for.
    package var trained = PreprocessPolicy.hf

    package init() {}

    /// SigLIP's own processing: stretch to the tower's size, values from −1 to 1.
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

    /// The size of the vision tower's input, in pixels.
    package var modelSize: PixelSize {
      switch size {
      case _ where doCenterCrop: cropSize
      case .exact(let size): size
      case .shortestEdge(let side): PixelSize(height: side, width: side)
      }
    }
  }

  package let configuration: Configuration

  /// The longest side that a configuration may ask for.
  private static let longestSide = 4096
  /// The most pixels that one image may have after resizing.
  private static let maxPixels = 1 << 24

  private static let highestPadded = 32_768

  /// - Throws: `badData` for a configuration that cannot process any image.
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

  /// - Throws: `badData` if the configuration makes an image of this size too large, or its tiles unequal,
  ///   and for an image too narrow to pad.
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

  /// do_convert_rgb: `load_image` drops alpha but keeps track of a single transparent colour, which
  /// transformers' processors then replace by white.
  private func converted(_ picture: RGBImage) -> RGBImage {
    configuration.doConvertRGB ? picture.onWhite() : picture
  }

  /// Bounds the height, because resampling covers every row of a tall image together with its padding.
  private func squared(_ picture: RGBImage, _ colour: [UInt8]) throws(LimnError) -> Canvas {
    guard picture.height <= max(picture.width, Self.highestPadded) else {
      throw .badData(
        code: .imageTooLarge, "the picture is too narrow to be padded to a square",
        expected: "at most \(Self.highestPadded) rows",
        found: "\(picture.width) × \(picture.height)", remedy: "use \(.preprocess, "crop")")
    }
    return Canvas(squareAround: picture, colour: colour)
  }

  /// do_resize and do_center_crop, as configured.
  private func configured(_ canvas: Canvas) throws(LimnError) -> RGBImage {
    let target = configuration.doResize ? scaled(canvas.size, to: configuration.size) : canvas.size
    return try center(
      configuration.doCenterCrop ? configuration.cropSize : target, of: canvas, scaledTo: target,
      configuration.resample)
  }

  /// The policy `crop`, whatever the configuration says.
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
        code: .imageTooLarge, "the picture is too large for this image processor, which does not crop",
        expected: "at most \(Self.maxPixels) pixels after resizing",
        found: "\(window.width) × \(window.height)", remedy: "use \(.preprocess, "crop")")
    }
    // Rounds down, also below zero: an image smaller than the window gets the odd padding pixel before it.
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

  /// The whole image, stretched, and the tiles of the best pinpoint, in which the image is centred on black;
  /// each of them is then processed like an image of its own.
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
        code: .modelUnreadable, "image_grid_pinpoints asks for too many tiles", found: "\(grid.rows) × \(grid.columns)")
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

  /// Rescales and normalises. A channel has only 256 values, so a table holds all the arithmetic: the product
  /// with the factor in double precision, the rest in single precision, as numpy does it for transformers.
  private func pack(
    _ parts: [RGBImage], _ original: PixelSize, grid: AnyRes.Grid? = nil
  ) throws(LimnError) -> ProcessedImage {
    let (height, width) = (parts[0].height, parts[0].width)
    guard parts.allSatisfy({ $0.height == height && $0.width == width }) else {
      throw .badData(
        code: .modelUnreadable, "tiles of unequal size", in: "the image processor's configuration",
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

/// A vision tower's input for one image.
package struct ProcessedImage: Sendable {
  package let tiles: Int
  package let height: Int
  package let width: Int
  /// [tiles, 3, height, width], normalised. With a grid, the overview comes first, then the tiles row by row.
  package let pixels: [Float]
  /// The size of the upright image.
  package let originalSize: PixelSize
  /// LLaVA-NeXT only: the layout of the tiles after the overview.
  package let grid: AnyRes.Grid?

  /// A summary of what the model sees, for people: "640 × 480 as 336 × 336".
  package func describe() -> String {
    let line = "\(originalSize.width) × \(originalSize.height) as \(width) × \(height)"
    guard let grid else { return line }
    return line + ", whole and in \(grid.rows) × \(grid.columns) tiles"
  }
}

extension ProcessedImage {
  /// A single tile of zeros, to measure or count with.
  package init(blankWithSide side: Int) {
    self.init(
      tiles: 1, height: side, width: side, pixels: [Float](repeating: 0, count: 3 * side * side),
      originalSize: PixelSize(height: side, width: side), grid: nil)
  }
}
