import CLimnImage
import LimnCore

extension RGBImage {
  init(
    decoding bytes: [UInt8], as format: ImageFormat, _ options: ImageOptions
  ) throws(DecodingFailure) {
    let accepts = options.acceptsDamaged
    let decoder: any ImageDecoder
    var orientation = Orientation.upright
    var transparentColour: [UInt8]?
    switch format {
    case .jpeg:
      decoder = try LibraryDecoder(bytes, limn_read_jpeg, acceptsDamaged: accepts)
      orientation = Orientation(ofJPEG: bytes)
    case .png:
      decoder = try LibraryDecoder(bytes, limn_read_png, acceptsDamaged: accepts)
      orientation = Orientation(ofPNG: bytes)
      transparentColour = PNGChunks.transparentColour(in: bytes)
    case .webp:
      decoder = try LibraryDecoder(bytes, limn_read_webp, acceptsDamaged: accepts)
      orientation = Orientation(ofWebP: bytes)
    case .gif:
      let gif = try GIFDecoder(bytes, acceptsDamaged: accepts)
      decoder = gif
      transparentColour = gif.transparentColour
    case .bmp: decoder = try BMPDecoder(bytes, acceptsDamaged: accepts)
    case .ico: decoder = try ICODecoder(bytes, acceptsDamaged: accepts)
    case .pnm: decoder = try PNMDecoder(bytes, acceptsDamaged: accepts)
    case .tiff:
      let tiff = try LibraryDecoder(bytes, limn_read_tiff, acceptsDamaged: accepts)
      decoder = tiff
      orientation = Orientation(exif: tiff.orientation)
    case .heic: decoder = try LibraryDecoder(bytes, limn_read_heic, acceptsDamaged: accepts)
    case .avif: decoder = try LibraryDecoder(bytes, limn_read_avif, acceptsDamaged: accepts)
    case .unsupported, .notAPicture, .unknown: throw .unsupported("")
    }
    let header = decoder.header
    let isAnimated =
      header.isAnimated || (format == .png && PNGChunks.isAnimated(bytes)) || ImageFormat.isSequence(bytes)
    var warnings: [LimnError.Text] = []
    if isAnimated {
      warnings.append(
        format == .tiff ? "it has several pages; the first is used" : "it is an animation; its first picture is used")
    }
    let pixels = try Self.pixels(decoder, options.background, &warnings)
    let stored = RGBImage(width: header.width, height: header.height, pixels: pixels)
    let upright = orientation.upright(stored)
    self.init(
      width: upright.width, height: upright.height, pixels: upright.pixels,
      transparentColour: options.background == nil ? transparentColour : nil, warnings: warnings)
  }

  /// Decodes in memory for as many pixels as the header says, and takes the alpha out of them.
  private static func pixels(
    _ decoder: any ImageDecoder, _ background: ImageOptions.Colour?, _ warnings: inout [LimnError.Text]
  ) throws(DecodingFailure) -> [UInt8] {
    let header = decoder.header
    guard header.width > 0, header.height > 0 else { throw .broken("a picture without pixels") }
    guard header.width <= longestSide, header.height <= longestSide, header.width * header.height <= maxPixels else {
      throw DecodingFailure(reason: .tooLarge, message: "\(header.width) × \(header.height) pixels")
    }
    let count = header.width * header.height
    var result = Result<ImageDamage?, DecodingFailure>.success(nil)
    var transparent = 0
    let ground: [UInt8]? = background.map { colour in [colour.red, colour.green, colour.blue] }
    let pixels = [UInt8](unsafeUninitializedCapacity: (header.hasAlpha ? 4 : 3) * count) { buffer, initialised in
      do throws(DecodingFailure) {
        result = .success(try decoder.decode(into: buffer))
        if header.hasAlpha {
          transparent = limn_remove_alpha(buffer.baseAddress, count, ground)
        }
        initialised = 3 * count
      } catch {
        result = .failure(error)
        initialised = 0
      }
    }
    let damage = try result.get()
    if let damage {
      let reason = damage.message.isEmpty ? "" : " (\(damage.message))"
      warnings.append(
        damage.losesPixels
          ? "the picture is damaged\(reason): parts of it are missing or wrong"
          : "the file is damaged\(reason), but every pixel is there")
    }
    // Missing pixels count as transparent.
    if transparent > count / 2, background == nil, damage?.losesPixels != true {
      warnings.append(
        """
        \(transparent * 100 / count) % of it is transparent and shown in the colours that hide there; \
        \(.background, "white") shows it on a colour
        """)
    }
    return pixels
  }

  // MARK: Errors

  static func error(
    _ failure: DecodingFailure, _ format: ImageFormat, _ bytes: [UInt8], _ name: String
  ) -> LimnError {
    let expected = "a picture (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, ICO or PNM)"
    let again: LimnError.Text = "copy or download it again, or look at what there is with \(.acceptDamaged)"
    let found = failure.message.isEmpty ? nil : failure.message
    switch (format, failure.reason) {
    case (.unsupported(let kind), _):
      return .badData(
        "\(kind) files are not supported", in: name, expected: expected, remedy: "convert it to PNG or JPEG")
    case (.notAPicture(let what), _): return .badData("not a picture", in: name, expected: expected, found: what)
    case (.unknown, _):
      return .badData(
        "not a picture", in: name, expected: expected, found: bytes.isEmpty ? "an empty file" : "something else")
    case (_, .cutOff): return .badData("the picture is cut off", in: name, found: found, remedy: again)
    case (_, .broken): return .badData("the picture is damaged", in: name, found: found, remedy: again)
    case (_, .unsupported):
      return .badData(
        "a kind of \(format.name) that limn does not read", in: name, found: found,
        remedy: "convert it to an ordinary PNG or JPEG")
    case (_, .noMemory):
      return LimnError(.unavailable, "not enough memory for the picture", in: name, remedy: "scale it down first")
    case (.jpeg, .tooLarge) where found?.contains(" × ") != true:
      return .badData(
        code: .imageTooLarge, "the picture is too large", in: name,
        expected: "at most \(LIMN_MOST_COEFFICIENT_BYTES >> 20) MB to decode a progressive JPEG", found: "more",
        remedy: "scale it down first, or save it as a JPEG that is not progressive")
    case (_, .tooLarge):
      return .badData(
        code: .imageTooLarge, "the picture is too large", in: name,
        expected: "at most \(maxPixels / 1_000_000) megapixels and \(longestSide) pixels a side", found: found,
        remedy: "scale it down first")
    case (_, .noLibrary):
      return LimnError(
        .unavailable, "\(format.name) pictures need \(format == .tiff ? "libtiff" : "libheif"), which is not installed",
        in: name, found: found, remedy: installation(for: format))
    }
  }

  private static func installation(for format: ImageFormat) -> LimnError.Text {
    #if os(macOS)
      return
        "install it: brew install \(format == .tiff ? "libtiff" : "libheif"); or convert the picture to PNG or JPEG"
    #else
      // Newer systems have the codecs in packages of their own.
      let packages =
        switch format {
        case .tiff: "libtiff6"
        case .avif: "libheif1 (with libheif-plugin-dav1d where there is that package)"
        default: "libheif1 (with libheif-plugin-libde265 where there is that package)"
        }
      return "install it: apt-get install \(packages); or convert the picture to PNG or JPEG"
    #endif
  }
}
