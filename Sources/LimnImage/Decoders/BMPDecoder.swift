/// A Windows or OS/2 bitmap: 1 to 32 bits per pixel, with a palette, runs (RLE) or bit fields. As in Pillow, a fourth byte
/// is alpha only where the header says so.
struct BMPDecoder: ImageDecoder {
  let header: ImageHeader
  private let file: [UInt8]
  private let acceptsDamaged: Bool
  private let bits: Int
  private let compression: Int
  private let isTopDown: Bool
  /// Red, green, blue and alpha of 16, 24 and 32 bits per pixel.
  private let masks: [Int]
  /// Red, green and blue of 256 indices.
  private let palette: [UInt8]
  /// Where the pixels begin.
  private let start: Int

  private enum Compression {
    static let none = 0
    static let rle8 = 1
    static let rle4 = 2
    static let fields = 3
  }

  /// - Parameters:
  ///   - offset: where the bitmap's header begins; before it lies a file's header, which names the place of the pixels.
  ///   - isIcon: whether it is a part of an icon: without a file's header, and with a mask below, counted in its height.
  init(_ file: [UInt8], at offset: Int = 14, isIcon: Bool = false, acceptsDamaged: Bool) throws(DecodingFailure) {
    guard let size = file.long(offset) else { throw .cutOff }
    guard [12, 40, 52, 56, 64, 108, 124].contains(size) else { throw .unsupported("a header of \(size) bytes") }
    guard offset + size <= file.count else { throw .cutOff }
    func short(_ at: Int) -> Int { file.short(offset + at) ?? 0 }
    func long(_ at: Int) -> Int { size > at ? file.long(offset + at) ?? 0 : 0 }
    let isOld = size == 12
    let width = isOld ? short(4) : Int(Int32(truncatingIfNeeded: long(4)))
    let height = isOld ? short(6) : Int(Int32(truncatingIfNeeded: long(8)))
    let bits = short(isOld ? 10 : 14)
    let compression = long(16)
    let isFields = compression == Compression.fields
    guard [1, 4, 8, 16, 24, 32].contains(bits) else { throw .unsupported("\(bits) bits per pixel") }
    switch (compression, bits) {
    case (Compression.none, _), (Compression.rle8, 8), (Compression.rle4, 4), (Compression.fields, 16...): break
    default: throw .unsupported("compression \(compression) with \(bits) bits per pixel")
    }
    var position = offset + size
    if isFields {
      guard size >= 40, offset + 52 <= file.count else { throw .cutOff }
      let named = [40, 44, 48, 52].map { at in at == 52 && size < 56 ? 0 : file.long(offset + at) ?? 0 }
      masks = bits == 32 && named == [0, 0, 0, 0] ? [0xFF0000, 0xFF00, 0xFF, 0xFF00_0000] : named
      if size == 40 { position += 12 }
    } else {
      masks = bits == 16 ? [0x7C00, 0x3E0, 0x1F, 0] : [0xFF0000, 0xFF00, 0xFF, isIcon && bits == 32 ? 0xFF00_0000 : 0]
    }
    let each = isOld ? 3 : 4
    let colours = bits > 8 ? 0 : long(32) > 0 ? long(32) : 1 << bits
    guard colours <= 1 << 16 else { throw .broken("a palette of \(colours) colours") }
    var palette = [UInt8](repeating: 0, count: 768)
    for index in 0..<min(colours, 256) {
      // Blue comes first.
      for c in 0..<3 { palette[3 * index + c] = UInt8(file.byte(position + each * index + 2 - c) ?? 0) }
    }
    position += each * colours
    let named = isIcon ? 0 : file.long(10) ?? 0
    // Some writers name the end of the header, where the palette is.
    start = named == 0 || (named == offset + size && bits <= 8) ? position : named
    header = ImageHeader(width: max(0, width), height: abs(height) / (isIcon ? 2 : 1), hasAlpha: masks[3] != 0)
    isTopDown = height < 0
    self.bits = bits
    self.compression = compression
    self.palette = palette
    self.file = file
    self.acceptsDamaged = acceptsDamaged
  }

  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage? {
    let (width, height) = (header.width, header.height)
    let isRuns = compression == Compression.rle8 || compression == Compression.rle4
    let step = (width * bits + 31) / 32 * 4
    let rowBytes = (width * bits + 7) / 8
    // Without the padding of the last row.
    let available = max(0, file.count - start - rowBytes + step) / step
    guard isRuns || available >= height || acceptsDamaged else { throw .cutOff }
    var damage: ImageDamage?
    if isRuns {
      var runs = Runs(file, at: start, width: width, is4Bit: compression == Compression.rle4)
      let indices = runs.indices(width * height)
      if runs.isCutOff {
        guard acceptsDamaged else { throw .cutOff }
        damage = ImageDamage(losesPixels: true, message: "its data end too early")
      }
      for y in 0..<height {
        for x in 0..<width { put(Int(indices[y * width + x]), pixels, row(y) * width + x) }
      }
      return damage
    }
    if available < height {
      pixels.initialize(repeating: 0)
      damage = ImageDamage(losesPixels: true, message: "\(height - available) of \(height) rows are missing")
    }
    let shifts = masks.map { Field($0) }
    for y in 0..<min(height, available) {
      let first = start + y * step
      let out = row(y) * width
      switch bits {
      case 1, 4, 8:
        let perByte = 8 / bits
        for x in 0..<width {
          let byte = Int(file[first + x / perByte])
          put(byte >> (8 - bits - bits * (x % perByte)) & (1 << bits - 1), pixels, out + x)
        }
      default:
        let (size, bytes) = (header.hasAlpha ? 4 : 3, bits / 8)
        for x in 0..<width {
          var value = 0
          for byte in (0..<bytes).reversed() { value = value << 8 | Int(file[first + bytes * x + byte]) }
          for c in 0..<size { pixels[size * (out + x) + c] = shifts[c].byte(value) }
        }
      }
    }
    return damage
  }

  /// Where the stored row belongs: most bitmaps begin with the lowest.
  private func row(_ y: Int) -> Int { isTopDown ? y : header.height - 1 - y }

  private func put(_ index: Int, _ pixels: UnsafeMutableBufferPointer<UInt8>, _ pixel: Int) {
    for c in 0..<3 { pixels[3 * pixel + c] = palette[3 * index + c] }
  }

  /// The bits of one colour, scaled to a byte.
  private struct Field {
    let mask: Int
    let shift: Int
    let longest: Int

    init(_ mask: Int) {
      self.mask = mask
      shift = mask == 0 ? 0 : mask.trailingZeroBitCount
      longest = mask >> shift
    }

    func byte(_ pixel: Int) -> UInt8 { longest == 0 ? 0 : UInt8((pixel & mask) >> shift * 255 / longest) }
  }

  /// Runs of indices (RLE8, RLE4), row by row.
  private struct Runs {
    private let file: [UInt8]
    private var position: Int
    private let width: Int
    private let is4Bit: Bool
    private(set) var isCutOff = false

    init(_ file: [UInt8], at start: Int, width: Int, is4Bit: Bool) {
      (self.file, position, self.width, self.is4Bit) = (file, start, width, is4Bit)
    }

    /// All indices, in stored order; 0 where runs leave something out.
    mutating func indices(_ count: Int) -> [UInt8] {
      var values = [UInt8](repeating: 0, count: count)
      var (next, x) = (0, 0)
      func index(_ byte: Int, _ i: Int) -> UInt8 {
        UInt8(is4Bit ? (i % 2 == 0 ? byte >> 4 : byte & 15) : byte)
      }
      while next < count {
        guard let length = file.byte(position), let value = file.byte(position + 1) else {
          isCutOff = true
          return values
        }
        position += 2
        switch (length, value) {
        case (0, 0):  // end of the row
          next = min(count, (next + width - 1) / width * width)
          x = 0
        case (0, 1): return values  // end of the bitmap
        case (0, 2):  // a move to the right and up
          guard let right = file.byte(position), let up = file.byte(position + 1) else {
            isCutOff = true
            return values
          }
          position += 2
          next = min(count, next + right + up * width)
          x = next % width
        case (0, _):  // so many indices as they are, padded to 16 bits
          let bytes = is4Bit ? (value + 1) / 2 : value
          guard position + bytes <= file.count else {
            isCutOff = true
            return values
          }
          for i in 0..<min(value, count - next) {
            values[next + i] = index(Int(file[position + (is4Bit ? i / 2 : i)]), i)
          }
          position += bytes + bytes % 2
          next = min(count, next + value)
          x += value
        default:  // the same again and again, up to the end of the row
          let run = min(length, max(0, width - x), count - next)
          for i in 0..<run { values[next + i] = index(value, i) }
          next += run
          x += run
        }
      }
      return values
    }
  }
}
