internal import CLimnImage
public import LimnCore

/// An upright image: 8-bit sRGB, no alpha.
public struct RGBImage: Sendable, Equatable {
  /// Pixels in a row.
  public let width: Int
  /// Rows.
  public let height: Int
  /// [height, width, 3]
  public let pixels: [UInt8]
  /// Red, green and blue of the single colour that a PNG declares transparent, if any.
  public let transparentColour: [UInt8]?

  /// - Precondition: `pixels` holds 3 · width · height bytes, and there is at least one pixel.
  public init(width: Int, height: Int, pixels: [UInt8], transparentColour: [UInt8]? = nil) {
    precondition(width > 0 && height > 0 && pixels.count == 3 * width * height, "pixels do not fit the size")
    self.width = width
    self.height = height
    self.pixels = pixels
    self.transparentColour = transparentColour
  }

  /// The most pixels that are decoded. A small file can claim any size, so the header is checked against this
  /// limit before memory is allocated.
  public static let maxPixels = 200_000_000
  /// The longest side that is decoded: libpng's limit; JPEG and WebP cannot exceed 65,535.
  public static let longestSide = 1_000_000

  /// Decodes a JPEG, PNG or WebP file as `transformers.image_utils.load_image` does: turns it as its EXIF
  /// orientation says; drops alpha without blending; ignores colour profiles and gamma; cuts 16-bit samples
  /// to their high byte; takes the first frame of an animation.
  ///
  /// - Parameter name: the image's name in errors.
  /// - Throws: `badData` for other formats, and for a truncated or damaged file.
  public init(decoding bytes: [UInt8], name: String) throws(LimnError) {
    let format = ImageFormat(recognising: bytes)
    let read: Reader
    let orientation: Orientation
    var transparentColour: [UInt8]?
    switch format {
    case .jpeg: (read, orientation) = (limn_read_jpeg, Orientation(ofJPEG: bytes))
    case .png:
      (read, orientation) = (limn_read_png, Orientation(ofPNG: bytes))
      transparentColour = PNGChunks.transparentColour(in: bytes)
    case .webp: (read, orientation) = (limn_read_webp, Orientation(ofWebP: bytes))
    case .unsupported, .notAPicture, .unknown: throw Self.refusal(of: format, bytes, name).ofImage
    }
    let stored = try Self.decode(bytes, with: read, name: name)
    let pixels = orientation.upright(stored)
    self.init(
      width: pixels.width, height: pixels.height, pixels: pixels.pixels, transparentColour: transparentColour)
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

  private typealias Reader = (
    UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<limn_picture>?
  ) -> Int32

  private static func decode(
    _ bytes: [UInt8], with read: Reader, name: String
  ) throws(LimnError) -> RGBImage {
    var picture = limn_picture()
    var status = read(bytes, bytes.count, nil, &picture)
    guard status == LIMN_PICTURE_OK else { throw failure(status, picture, name).ofImage }
    let width = Int(picture.width)
    let height = Int(picture.height)
    guard width > 0, height > 0 else { throw .badData(code: .imageUnreadable, "a picture without pixels", in: name) }
    guard width <= longestSide, height <= longestSide, width * height <= maxPixels else {
      throw .badData(
        code: .imageTooLarge, "the picture is too large", in: name,
        expected: "at most \(maxPixels / 1_000_000) megapixels and \(longestSide) pixels a side",
        found: "\(width) × \(height) pixels", remedy: "scale it down first")
    }
    let count = 3 * width * height
    // Pages that a failing decoder never reaches are never allocated by the system.
    let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
      status = read(bytes, bytes.count, buffer.baseAddress, &picture)
      initialised = status == LIMN_PICTURE_OK ? count : 0
    }
    guard status == LIMN_PICTURE_OK else { throw failure(status, picture, name).ofImage }
    return RGBImage(width: width, height: height, pixels: pixels)
  }

  private static func failure(_ status: Int32, _ picture: limn_picture, _ name: String) -> LimnError {
    let message = withUnsafeBytes(of: picture.message) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    let found = message.isEmpty ? nil : message
    switch Int(status) {
    case LIMN_PICTURE_CUT_OFF:
      return .badData("the picture is cut off", in: name, found: found, remedy: "copy or download it again")
    case LIMN_PICTURE_UNSUPPORTED:
      return .badData(
        "a kind of picture that limn does not read", in: name, found: found,
        remedy: "convert it to an ordinary PNG or JPEG")
    case LIMN_PICTURE_NO_MEMORY:
      return LimnError(
        .unavailable, "not enough memory for the picture", in: name, remedy: "scale it down first")
    case LIMN_PICTURE_TOO_LARGE:
      return .badData(
        code: .imageTooLarge, "the picture is too large", in: name,
        expected: "at most \(LIMN_MOST_COEFFICIENT_BYTES >> 20) MB to decode a progressive JPEG",
        found: "more for \(picture.width) × \(picture.height) pixels",
        remedy: "scale it down first, or save it as a JPEG that is not progressive")
    default:
      return .badData("the picture is damaged", in: name, found: found, remedy: "copy or download it again")
    }
  }

  private static func refusal(of format: ImageFormat, _ bytes: [UInt8], _ name: String) -> LimnError {
    let expected = "a JPEG, PNG or WebP picture"
    if case .unsupported(let kind) = format {
      return .badData(
        "\(kind) files are not supported", in: name, expected: expected, remedy: "convert it to PNG or JPEG")
    }
    if case .notAPicture(let what) = format {
      return .badData("not a picture", in: name, expected: expected, found: what)
    }
    return .badData(
      "not a picture", in: name, expected: expected,
      found: bytes.isEmpty ? "an empty file" : "something else")
  }
}
