/// A file's format, recognised by its first bytes, never by its name or extension.
enum ImageFormat: Equatable {
  case jpeg, png, webp, gif, bmp, ico, pnm, tiff, heic, avif
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
      self = Self.isoMedia(bytes)
    } else if has("GIF87a") || has("GIF89a") {
      self = .gif
    } else if ["II*\0", "MM\0*", "II+\0", "MM\0+"].contains(where: { has($0) }) {
      self = .tiff
    } else if has([0, 0, 1, 0]), bytes.count >= 6, bytes[4] | bytes[5] != 0 {
      self = .ico
    } else if Self.isBitmap(bytes) {
      self = .bmp
    } else if Self.isPortableMap(bytes) {
      self = .pnm
    } else if let (_, name) = Self.signatures.first(where: { has($0.magic) }) {
      self = .unsupported(name)
    } else if has("%PDF") {
      self = .unsupported("PDF")
    } else {
      self = Self.text(bytes.prefix(1024))
    }
  }

  /// The format's name, for messages.
  var name: String {
    switch self {
    case .jpeg: "JPEG"
    case .png: "PNG"
    case .webp: "WebP"
    case .gif: "GIF"
    case .bmp: "BMP"
    case .ico: "ICO"
    case .pnm: "PNM"
    case .tiff: "TIFF"
    case .heic: "HEIC"
    case .avif: "AVIF"
    case .unsupported(let name), .notAPicture(let name): name
    case .unknown: "unknown"
    }
  }

  private static let signatures: [(magic: [UInt8], name: String)] = [
    (Array("8BPS".utf8), "Photoshop"), (Array("qoif".utf8), "QOI"), (Array("DDS ".utf8), "DDS"),
    ([0xFF, 0x0A], "JPEG XL"), (Array("\0\0\0\u{0C}JXL ".utf8), "JPEG XL"),
    (Array("\0\0\0\u{0C}jP  ".utf8), "JPEG 2000"), ([0xFF, 0x4F, 0xFF, 0x51], "JPEG 2000"),
    ([0x76, 0x2F, 0x31, 0x01], "OpenEXR"),
  ]

  /// A format by the brand that the file has first; the others, four bytes each, follow a version.
  private static func isoMedia(_ bytes: [UInt8]) -> ImageFormat {
    let brands = stride(from: 8, to: min(bytes.count - 3, 256), by: 4).map {
      String(decoding: bytes[$0..<$0 + 4], as: UTF8.self)
    }
    return switch brands.first {
    case "avif", "avis": .avif
    case "heic", "heix", "heim", "heis", "hevc", "hevx": .heic
    case "mif1", "msf1", "mif2", "miaf": brands.contains("avif") || brands.contains("avis") ? .avif : .heic
    default: .notAPicture("a video")
    }
  }

  /// Whether the brands of a HEIC or AVIF say that it is a sequence of pictures.
  static func isSequence(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 12, bytes[4..<8].elementsEqual("ftyp".utf8) else { return false }
    let brand = String(decoding: bytes[8..<12], as: UTF8.self)
    return ["avis", "msf1", "hevc", "hevx", "heis"].contains(brand)
  }

  /// "BM" alone begins words, too: the header's size tells.
  private static func isBitmap(_ bytes: [UInt8]) -> Bool {
    bytes.starts(with: Array("BM".utf8)) && bytes.count >= 18 && bytes[15] | bytes[16] | bytes[17] == 0
  }

  /// "P5", space, and a number or a comment.
  private static func isPortableMap(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 4, bytes[0] == UInt8(ascii: "P"), (0x31...0x37).contains(bytes[1]) else { return false }
    let rest = bytes.prefix(64).dropFirst(2)
    guard let first = rest.first, first == 0x20 || (0x09...0x0D).contains(first) else { return false }
    guard let next = rest.first(where: { $0 != 0x20 && !(0x09...0x0D).contains($0) }) else { return false }
    return next == UInt8(ascii: "#") || (bytes[1] == 0x37 ? next == UInt8(ascii: "W") : (0x30...0x39).contains(next))
  }

  private static func text(_ start: ArraySlice<UInt8>) -> ImageFormat {
    guard !start.contains(where: { $0 < 0x20 && !(0x09...0x0D).contains($0) }) else { return .unknown }
    let text = String(decoding: start, as: UTF8.self).lowercased()
    if text.contains("<svg") { return .unsupported("SVG") }
    if text.contains("<!doctype html") || text.contains("<html") { return .notAPicture("a web page") }
    return .notAPicture("text")
  }
}
