public import LimnCore

/// An upright image: 8-bit sRGB, no alpha.
public struct RGBImage: Sendable, Equatable {
  /// Pixels in a row.
  public let width: Int
  /// Rows.
  public let height: Int
  /// [height, width, 3]
  public let pixels: [UInt8]
  /// Red, green and blue of the single colour that a PNG or GIF declares transparent, if any.
  public let transparentColour: [UInt8]?
  /// What its viewer should know of how its file was decoded: it is damaged, an animation, transparent for the most part.
  public let warnings: [LimnError.Text]

  /// - Precondition: `pixels` holds 3 · width · height bytes, and there is at least one pixel.
  public init(
    width: Int, height: Int, pixels: [UInt8], transparentColour: [UInt8]? = nil, warnings: [LimnError.Text] = []
  ) {
    precondition(width > 0 && height > 0 && pixels.count == 3 * width * height, "pixels do not fit the size")
    self.width = width
    self.height = height
    self.pixels = pixels
    self.transparentColour = transparentColour
    self.warnings = warnings
  }

  /// The most pixels that are decoded. A small file can claim any size, so the header is checked against this
  /// limit before memory is allocated.
  public static let maxPixels = 200_000_000
  /// The longest side that is decoded: libpng's limit; JPEG and WebP cannot exceed 65,535.
  public static let longestSide = 1_000_000

  /// Decodes a picture file as `transformers.image_utils.load_image` does: turns it as its EXIF orientation says; drops
  /// alpha without blending; ignores colour profiles and gamma; cuts 16-bit samples to their high byte; takes the first
  /// frame of an animation. Its format is recognised by its first bytes: JPEG, PNG, WebP, GIF, BMP, ICO, PNM; TIFF where
  /// the system has libtiff, HEIC and AVIF where it has libheif.
  ///
  /// - Parameters:
  ///   - name: the image's name in errors.
  ///   - options: what is done with damage and transparency.
  /// - Throws: `badData` for other formats, and for a file that lacks pixels, unless the options accept that;
  ///   `unavailable` where the format's library is missing.
  public init(decoding bytes: [UInt8], name: String, options: ImageOptions = ImageOptions()) throws(LimnError) {
    let format = ImageFormat(recognising: bytes)
    do throws(DecodingFailure) {
      try self.init(decoding: bytes, as: format, options)
    } catch {
      throw Self.error(error, format, bytes, name).ofImage
    }
  }

  /// The image with its transparent colour replaced by white.
  func onWhite() -> RGBImage {
    guard let colour = transparentColour else { return self }
    var pixels = pixels
    for i in stride(from: 0, to: pixels.count, by: 3)
    where pixels[i] == colour[0] && pixels[i + 1] == colour[1] && pixels[i + 2] == colour[2] {
      for c in 0..<3 { pixels[i + c] = 255 }
    }
    return RGBImage(width: width, height: height, pixels: pixels)
  }
}
