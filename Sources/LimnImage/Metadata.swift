// Reads an image's orientation from its metadata. Everything here is optional: invalid metadata is ignored,
// and the image stays as stored. EXIF takes precedence over XMP, as in Pillow.

extension Orientation {
  /// From the APP1 segments before the first scan. Several EXIF segments form one block.
  init(ofJPEG file: [UInt8]) {
    var exif: [UInt8] = []
    var xmp: ArraySlice<UInt8> = []
    var position = 2
    while position + 4 <= file.count {
      guard file[position] == 0xFF else {
        position += 1
        continue
      }
      let marker = file[position + 1]
      if marker == 0xDA || marker == 0xD9 { break }
      if marker == 0xFF {
        position += 1
        continue
      }
      if marker == 0 || marker == 1 || (0xD0...0xD8).contains(marker) {
        position += 2
        continue
      }
      let length = Int(file[position + 2]) << 8 | Int(file[position + 3])
      let end = position + 2 + length
      guard length >= 2, end <= file.count else { break }
      let segment = file[(position + 4)..<end]
      if marker == 0xE1, segment.starts(with: Exif.prefix) {
        exif += segment.dropFirst(Exif.prefix.count)
      } else if marker == 0xE1, segment.starts(with: Array("http://ns.adobe.com/xap/1.0/\0".utf8)) {
        xmp = segment
      }
      position = end
    }
    self.init(exif: Exif.orientation(in: exif[...]) ?? Xmp.orientation(in: xmp) ?? 1)
  }

  /// From the chunk eXIf, else tEXt, else iTXt, wherever they are. Compressed texts are not unpacked.
  init(ofPNG file: [UInt8]) {
    let profileKey = Array("Raw profile type exif\0".utf8)
    var exif: ArraySlice<UInt8>?
    var profile: ArraySlice<UInt8> = []
    var xmp: ArraySlice<UInt8> = []
    for chunk in PNGChunks(file) {
      if chunk.type == "eXIf" {
        exif = chunk.data
      } else if chunk.type == "tEXt", chunk.data.starts(with: profileKey) {
        profile = chunk.data.dropFirst(profileKey.count)
      } else if chunk.type == "iTXt", chunk.data.starts(with: Array("XML:com.adobe.xmp\0\0".utf8)) {
        xmp = chunk.data
      }
    }
    let block = exif ?? Exif.block(inRawProfile: profile)
    self.init(exif: Exif.orientation(in: block) ?? Xmp.orientation(in: xmp) ?? 1)
  }

  /// From the chunks EXIF and XMP.
  init(ofWebP file: [UInt8]) {
    var exif: ArraySlice<UInt8>?
    var xmp: ArraySlice<UInt8>?
    var position = 12
    while position + 8 <= file.count {
      let length = Exif.integer(file[(position + 4)..<(position + 8)], bigEndian: false)
      guard length <= file.count - position - 8 else { break }
      let type = file[position..<(position + 4)]
      let data = file[(position + 8)..<(position + 8 + length)]
      if type.elementsEqual("EXIF".utf8) {
        exif = exif ?? data
      } else if type.elementsEqual("XMP ".utf8) {
        xmp = xmp ?? data
      }
      position += 8 + length + length % 2
    }
    self.init(exif: exif.flatMap(Exif.orientation) ?? xmp.flatMap(Xmp.orientation) ?? 1)
  }
}

/// The chunks of a PNG that lie fully within the file.
struct PNGChunks: Sequence, IteratorProtocol {
  private let file: [UInt8]
  private var position = 8

  init(_ file: [UInt8]) {
    self.file = file
  }

  mutating func next() -> (type: String, data: ArraySlice<UInt8>)? {
    guard position + 12 <= file.count else { return nil }
    let length = Exif.integer(file[position..<(position + 4)], bigEndian: true)
    guard length <= file.count - position - 12 else { return nil }
    let type = String(decoding: file[(position + 4)..<(position + 8)], as: UTF8.self)
    let data = file[(position + 8)..<(position + 8 + length)]
    position += 12 + length
    return (type, data)
  }

  /// Whether the chunk acTL announces more pictures than the first.
  static func isAnimated(_ file: [UInt8]) -> Bool {
    for (type, data) in PNGChunks(file) {
      if type == "acTL" { return data.count >= 4 && Exif.integer(data.prefix(4), bigEndian: true) > 1 }
      if type == "IDAT" { return false }
    }
    return false
  }

  /// The single colour that tRNS makes transparent, as Pillow carries it into RGB: a palette's only
  /// transparent entry if all others are opaque; else the sample as stored in the chunk, which is not scaled
  /// with the pixels below 8 bits and counts as red for one bit.
  static func transparentColour(in file: [UInt8]) -> [UInt8]? {
    var header: [UInt8] = []
    var palette: [UInt8] = []
    for (type, data) in PNGChunks(file) {
      switch type {
      case "IHDR": header = Array(data)
      case "PLTE": palette = Array(data)
      case "IDAT": return nil
      case "tRNS" where header.count == 13:
        let bytes = Array(data)
        switch (header[9], header[8]) {
        case (3, _):
          guard let entry = bytes.firstIndex(of: 0), bytes.count(where: { $0 == 255 }) == bytes.count - 1
          else { return nil }
          return 3 * entry + 3 <= palette.count ? Array(palette[3 * entry..<3 * entry + 3]) : [0, 0, 0]
        case (0, 1) where bytes.count >= 2: return [bytes[0] | bytes[1] == 0 ? 0 : 255, 0, 0]
        case (0, ...8) where bytes.count >= 2 && bytes[0] == 0: return [bytes[1], bytes[1], bytes[1]]
        case (2, 8) where bytes.count >= 6 && bytes[0] | bytes[2] | bytes[4] == 0:
          return [bytes[1], bytes[3], bytes[5]]
        default: return nil
        }
      default: break
      }
    }
    return nil
  }
}

/// The first directory of an EXIF block, which is a TIFF file without pixels.
enum Exif {
  static let prefix = Array("Exif\0\0".utf8)
  /// The most bytes of a block that are read.
  private static let longestBlock = 1 << 20

  /// Decodes the EXIF block from the text form that ImageMagick wrote before PNG had an EXIF chunk: an empty
  /// line, a name, a length, and lines of hexadecimal digits.
  static func block(inRawProfile text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let lines = text.split(separator: UInt8(ascii: "\n"), maxSplits: 3, omittingEmptySubsequences: false)
    guard lines.count == 4 else { return [] }
    let characters = lines[3].prefix(3 * longestBlock)  // Two digits per byte, plus line ends.
    let digits = characters.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
    let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    return bytes[...]
  }

  /// The value of tag 0x0112; nil if the block lacks it or is broken before it.
  static func orientation(in block: ArraySlice<UInt8>) -> Int? {
    var tiff = block
    for _ in 0..<2 where tiff.starts(with: prefix) { tiff = tiff.dropFirst(prefix.count) }
    let bytes = Array(tiff.prefix(longestBlock))
    guard bytes.count >= 8 else { return nil }
    let bigEndian: Bool
    switch Array(bytes[0..<4]) {
    case Array("II*\0".utf8): bigEndian = false
    case Array("MM\0*".utf8): bigEndian = true
    default: return nil
    }
    let directory = integer(bytes[4..<8], bigEndian: bigEndian)
    guard directory <= bytes.count - 2 else { return nil }
    let entries = integer(bytes[directory..<(directory + 2)], bigEndian: bigEndian)
    for entry in 0..<entries {
      let start = directory + 2 + 12 * entry
      guard start + 12 <= bytes.count else { return nil }
      guard integer(bytes[start..<(start + 2)], bigEndian: bigEndian) == 0x0112 else { continue }
      let type = integer(bytes[(start + 2)..<(start + 4)], bigEndian: bigEndian)
      let count = integer(bytes[(start + 4)..<(start + 8)], bigEndian: bigEndian)
      // Short or long, signed or not. Some writers add a second value, which is ignored.
      let size = [3: 2, 8: 2, 4: 4, 9: 4][type]
      guard let size, count >= 1, count * size <= 4 else { continue }
      return integer(bytes[(start + 8)..<(start + 8 + size)], bigEndian: bigEndian)
    }
    return nil
  }

  static func integer(_ bytes: ArraySlice<UInt8>, bigEndian: Bool) -> Int {
    bigEndian ? bytes.reduce(0) { $0 << 8 | Int($1) } : bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
  }
}

/// XMP, an XML format, which is searched rather than parsed.
enum Xmp {
  /// The digit in `tiff:Orientation="6"` or `<tiff:Orientation>6<`, if any.
  static func orientation(in packet: ArraySlice<UInt8>) -> Int? {
    let key = Array("tiff:Orientation".utf8)
    var rest = packet
    while let start = rest.firstIndex(of: key[0]) {
      rest = rest[start...]
      if rest.starts(with: key) {
        let value = rest.dropFirst(key.count)
        let digit = value.starts(with: Array("=\"".utf8)) ? value.dropFirst(2).first : nil
        let element = value.first == UInt8(ascii: ">") ? value.dropFirst().first : nil
        if let found = digit ?? element, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(found) {
          return Int(found) - Int(UInt8(ascii: "0"))
        }
      }
      rest = rest.dropFirst()
    }
    return nil
  }
}
