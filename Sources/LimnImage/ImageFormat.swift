/// A file's format, recognised by its first bytes, never by its name or extension.
enum ImageFormat: Equatable {
  case jpeg, png, webp
  /// A known format that limn does not decode, by name.
  case unsupported(String)
  /// Something recognised that is not an image, by name.
  case notAPicture(String)
  case unknown

  init(recognising bytes: [UInt8]) {
    func has(_ magic: [UInt8], at offset: Int = 0) -> Bool {
      bytes.count >= offset + magic.count && bytes[offset..<(offset + magic.count)].elementsEqual(magic)
    }
    func has(_ magic: String, at offset: Int = 0) -> Bool { has(Array(magic.utf8), at: offset) }

    if has([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if has([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if has("RIFF"), has("WEBP", at: 8) {
      self = .webp
    } else if has("ftyp", at: 4) {
      self = Self.isoMedia(brand: String(decoding: bytes.dropFirst(8).prefix(4), as: UTF8.self))
    } else if let (_, name) = Self.signatures.first(where: { has($0.magic) }) {
      self = .unsupported(name)
    } else if has("%PDF") {
      self = .unsupported("PDF")
    } else {
      self = Self.text(bytes.prefix(1024))
    }
  }

  private static let signatures: [(magic: [UInt8], name: String)] = [
    (Array("GIF8".utf8), "GIF"), (Array("BM".utf8), "BMP"), (Array("II*\0".utf8), "TIFF"),
    (Array("MM\0*".utf8), "TIFF"), (Array("II+\0".utf8), "BigTIFF"), (Array("MM\0+".utf8), "BigTIFF"),
    (Array("8BPS".utf8), "Photoshop"), (Array("qoif".utf8), "QOI"), (Array("DDS ".utf8), "DDS"),
    ([0, 0, 1, 0], "ICO"), ([0xFF, 0x0A], "JPEG XL"), (Array("\0\0\0\u{0C}JXL ".utf8), "JPEG XL"),
    (Array("\0\0\0\u{0C}jP  ".utf8), "JPEG 2000"), ([0xFF, 0x4F, 0xFF, 0x51], "JPEG 2000"),
    ([0x76, 0x2F, 0x31, 0x01], "OpenEXR"), (Array("P5\n".utf8), "PNM"), (Array("P6\n".utf8), "PNM"),
  ]

  private static func isoMedia(brand: String) -> ImageFormat {
    switch brand {
    case "avif", "avis": .unsupported("AVIF")
    case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1": .unsupported("HEIC")
    default: .notAPicture("a video")
    }
  }

  private static func text(_ start: ArraySlice<UInt8>) -> ImageFormat {
    guard !start.contains(where: { $0 < 0x20 && !(0x09...0x0D).contains($0) }) else { return .unknown }
    let text = String(decoding: start, as: UTF8.self).lowercased()
    if text.contains("<svg") { return .unsupported("SVG") }
    if text.contains("<!doctype html") || text.contains("<html") { return .notAPicture("a web page") }
    return .notAPicture("text")
  }
}
