import CLimnImage

/// The largest picture of a Windows icon: a PNG, or a bitmap with a mask of what is transparent. Of several of one size,
/// it is the one with the fewest colours, as in Pillow.
struct ICODecoder: ImageDecoder {
  let header: ImageHeader
  private let file: [UInt8]
  private let png: LibraryDecoder?
  private let bitmap: BMPDecoder?
  /// Where the mask begins; nil where alpha is in the pixels.
  private let mask: Int?

  init(_ file: [UInt8], acceptsDamaged: Bool) throws(DecodingFailure) {
    let entries = (0..<(file.short(4) ?? 0)).compactMap { Entry(file, at: 6 + 16 * $0) }
    // The first of equal ones.
    guard let entry = entries.min(by: { ($1.area, $0.depth) < ($0.area, $1.depth) }) else {
      throw .broken("there is no picture in it")
    }
    self.file = file
    guard entry.offset < file.count else { throw .cutOff }
    if file[entry.offset...].starts(with: [0x89, 0x50, 0x4E, 0x47]) {
      let png = try LibraryDecoder(Array(file[entry.offset...]), limn_read_png, acceptsDamaged: acceptsDamaged)
      self.png = png
      bitmap = nil
      mask = nil
      header = png.header
      return
    }
    let bitmap = try BMPDecoder(file, at: entry.offset, isIcon: true, acceptsDamaged: acceptsDamaged)
    png = nil
    self.bitmap = bitmap
    header = ImageHeader(width: bitmap.header.width, height: bitmap.header.height, hasAlpha: true)
    let maskBytes = (header.width + 31) / 32 * 4 * header.height
    let start = entry.offset + entry.size - maskBytes
    mask = bitmap.header.hasAlpha || start < 0 || start + maskBytes > file.count ? nil : start
  }

  private struct Entry {
    let area, depth, size, offset: Int

    init?(_ file: [UInt8], at start: Int) {
      guard let width = file.byte(start), let height = file.byte(start + 1), let colours = file.byte(start + 2),
        let bits = file.short(start + 6), let size = file.long(start + 8), let offset = file.long(start + 12)
      else { return nil }
      area = (width == 0 ? 256 : width) * (height == 0 ? 256 : height)
      let indexBits = colours < 2 ? 0 : Int.bitWidth - (colours - 1).leadingZeroBitCount
      depth = bits > 0 ? bits : indexBits > 0 ? indexBits : 256
      self.size = size
      self.offset = offset
    }
  }

  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage? {
    if let png { return try png.decode(into: pixels) }
    guard let bitmap else { throw .broken("there is no picture in it") }
    let (width, height) = (header.width, header.height)
    let damage = try bitmap.decode(into: pixels)
    if bitmap.header.hasAlpha { return damage }
    // Spreads 3 bytes per pixel to 4, from the end.
    let step = (width + 31) / 32 * 4
    for y in (0..<height).reversed() {
      for x in (0..<width).reversed() {
        let pixel = y * width + x
        let isHidden = mask.map { file[$0 + (height - 1 - y) * step + x / 8] >> (7 - x % 8) & 1 == 1 } ?? false
        for c in (0..<3).reversed() { pixels[4 * pixel + c] = pixels[3 * pixel + c] }
        pixels[4 * pixel + 3] = isHidden ? 0 : 255
      }
    }
    return damage
  }
}
