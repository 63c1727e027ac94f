/// The first picture of a GIF, on its screen. https://www.w3.org/Graphics/GIF/spec-gif89a.txt
///
/// As in Pillow, a screen too small for the picture grows, and around a smaller picture is the transparent colour, or
/// else the palette's first.
struct GIFDecoder: ImageDecoder {
  let header: ImageHeader
  /// The colour of the transparent index, which transformers' processors replace.
  let transparentColour: [UInt8]?
  private let file: [UInt8]
  private let acceptsDamaged: Bool
  private var frame = (left: 0, top: 0, width: 0, height: 0)
  private var isInterlaced = false
  private var transparent: Int?
  /// Red, green and blue of 256 indices.
  private var palette: [UInt8]
  /// Where the data of the frame begin, with the size of its codes.
  private var start = 0

  init(_ file: [UInt8], acceptsDamaged: Bool) throws(DecodingFailure) {
    guard let width = file.short(6), let height = file.short(8), let flags = file.byte(10) else { throw .cutOff }
    var position = 13
    palette = try Self.palette(file, &position, flags)
    self.file = file
    self.acceptsDamaged = acceptsDamaged
    while true {
      guard let kind = file.byte(position) else { throw .cutOff }
      position += 1
      if kind == UInt8(ascii: ",") { break }
      if kind == UInt8(ascii: ";") { throw .broken("there is no picture in it") }
      guard kind == UInt8(ascii: "!") else { continue }
      // A graphic control extension: flags, delay, transparent index.
      if file.byte(position) == 0xF9, let flags = file.byte(position + 2), flags & 1 == 1 {
        transparent = file.byte(position + 5)
      }
      position += 1
      try Self.skipBlocks(file, &position)
    }
    guard let left = file.short(position), let top = file.short(position + 2), let right = file.short(position + 4),
      let bottom = file.short(position + 6), let frameFlags = file.byte(position + 8)
    else { throw .cutOff }
    frame = (left, top, right, bottom)
    isInterlaced = frameFlags & 64 != 0
    position += 9
    if frameFlags & 128 != 0 { palette = try Self.palette(file, &position, frameFlags) }
    start = position
    header = ImageHeader(
      width: max(width, left + frame.width), height: max(height, top + frame.height), hasAlpha: transparent != nil,
      isAnimated: Self.hasAnotherFrame(file, after: position + 1))
    let colours = palette
    transparentColour = transparent.map { Array(colours[3 * $0..<3 * $0 + 3]) }
  }

  /// The palette that flags announce; 256 greys without one.
  private static func palette(
    _ file: [UInt8], _ position: inout Int, _ flags: Int
  ) throws(DecodingFailure) -> [UInt8] {
    let greys = (0..<256).flatMap { [UInt8($0), UInt8($0), UInt8($0)] }
    guard flags & 128 != 0 else { return greys }
    let count = 6 << (flags & 7)
    guard position + count <= file.count else { throw .cutOff }
    defer { position += count }
    let colours = Array(file[position..<position + count])
    // As in Pillow, a palette of all greys in their order is none, and then there are 256 of them.
    if colours == Array(greys.prefix(count)) { return greys }
    return colours + Array(repeating: 0, count: 768 - count)
  }

  private static func skipBlocks(_ file: [UInt8], _ position: inout Int) throws(DecodingFailure) {
    while true {
      guard let count = file.byte(position) else { throw .cutOff }
      position += 1 + count
      if count == 0 { return }
    }
  }

  private static func hasAnotherFrame(_ file: [UInt8], after start: Int) -> Bool {
    var position = start
    do throws(DecodingFailure) {
      try skipBlocks(file, &position)
      while let kind = file.byte(position), kind != UInt8(ascii: ";") {
        position += 1
        if kind == UInt8(ascii: ",") { return true }
        guard kind == UInt8(ascii: "!") else { continue }
        position += 1
        try skipBlocks(file, &position)
      }
    } catch {}
    return false
  }

  // MARK: Pixels

  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage? {
    var codes = LZW(file, at: start)
    var indices = codes.indices(frame.width * frame.height)
    let missing = frame.width * frame.height - indices.values.count
    if missing > 0 {
      guard acceptsDamaged else { throw indices.failure ?? .cutOff }
      indices.values += [UInt8](repeating: UInt8(transparent ?? 0), count: missing)
    }
    let size = header.hasAlpha ? 4 : 3
    func put(_ index: Int, at pixel: Int) {
      for c in 0..<3 { pixels[size * pixel + c] = palette[3 * index + c] }
      if header.hasAlpha { pixels[size * pixel + 3] = index == transparent ? 0 : 255 }
    }
    if frame.width != header.width || frame.height != header.height {
      for pixel in 0..<header.width * header.height { put(transparent ?? 0, at: pixel) }
    }
    var next = 0
    for y in rows() {
      let first = (frame.top + y) * header.width + frame.left
      for x in 0..<frame.width { put(Int(indices.values[next + x]), at: first + x) }
      next += frame.width
    }
    return missing > 0 ? ImageDamage(losesPixels: true, message: "\(missing) pixels are missing") : nil
  }

  /// The frame's rows in the order in which they are stored.
  private func rows() -> [Int] {
    guard isInterlaced else { return Array(0..<frame.height) }
    return [(0, 8), (4, 8), (2, 4), (1, 2)].flatMap { Array(stride(from: $0.0, to: frame.height, by: $0.1)) }
  }
}

/// GIF's variant of Lempel-Ziv-Welch: codes of up to 12 bits, in blocks of up to 255 bytes.
private struct LZW {
  private let file: [UInt8]
  private var position: Int
  private let rootBits: Int
  private var blockLeft = 0
  private var bits = 0
  private var bitCount = 0

  init(_ file: [UInt8], at start: Int) {
    self.file = file
    rootBits = file.byte(start) ?? 0
    position = start + 1
  }

  /// The next code; nil where the data end.
  private mutating func code(_ width: Int) -> Int? {
    while bitCount < width {
      if blockLeft == 0 {
        guard let count = file.byte(position), count > 0 else { return nil }
        blockLeft = count
        position += 1
      }
      guard let byte = file.byte(position) else { return nil }
      bits |= byte << bitCount
      bitCount += 8
      blockLeft -= 1
      position += 1
    }
    defer {
      bits >>= width
      bitCount -= width
    }
    return bits & (1 << width - 1)
  }

  /// Up to `count` indices; fewer, and why, where the data end or are broken.
  mutating func indices(_ count: Int) -> (values: [UInt8], failure: DecodingFailure?) {
    var values: [UInt8] = []
    guard (1...8).contains(rootBits) else { return (values, .broken("codes of \(rootBits) bits")) }
    let clear = 1 << rootBits
    // A code stands for the indices of another one, and one more.
    var prefixes = [Int](repeating: 0, count: 4096)
    var suffixes = [UInt8](repeating: 0, count: 4096)
    for root in 0..<clear { suffixes[root] = UInt8(root) }
    var (width, next, previous) = (rootBits + 1, clear + 2, Int?.none)
    var string: [UInt8] = []
    while values.count < count {
      guard let code = code(width) else { return (values, .cutOff) }
      if code == clear {
        (width, next, previous) = (rootBits + 1, clear + 2, nil)
        continue
      }
      if code == clear + 1 { return (values, .cutOff) }
      // The code that is about to be defined stands for the previous one, and its first index again.
      guard code < clear || (code < next && code > clear) || (code == next && previous != nil && next < 4096) else {
        return (values, .broken("an undefined code"))
      }
      string.removeAll(keepingCapacity: true)
      var at = code == next ? previous! : code
      while at >= clear {
        string.append(suffixes[at])
        at = prefixes[at]
      }
      let first = UInt8(at)
      string.append(first)
      values += string.reversed()
      if code == next { values.append(first) }
      if let previous, next < 4096 {
        (prefixes[next], suffixes[next]) = (previous, first)
        next += 1
        if next >= 1 << width, width < 12 { width += 1 }
      }
      previous = code
    }
    return (Array(values.prefix(count)), nil)
  }
}
