/// PBM, PGM, PPM and PAM: https://netpbm.sourceforge.net/doc/. Samples are scaled to 0 … 255.
struct PNMDecoder: ImageDecoder {
  let header: ImageHeader
  private let file: [UInt8]
  private let acceptsDamaged: Bool
  /// Samples per pixel: 1 or 3, and one more for alpha.
  private let channels: Int
  private let longest: Int
  private let isText: Bool
  /// Whether it is black and white: a bit per pixel, 1 is black.
  private let isBits: Bool
  private var position: Int

  init(_ file: [UInt8], acceptsDamaged: Bool) throws(DecodingFailure) {
    self.file = file
    self.acceptsDamaged = acceptsDamaged
    let kind = (file.byte(1) ?? 0) - Int(UInt8(ascii: "0"))
    guard (1...7).contains(kind) else { throw .unsupported("an unknown kind of PNM") }
    var words = Words(file, at: 2)
    var (width, height, longest, depth) = (0, 0, 1, kind % 3 == 0 ? 3 : 1)
    if kind == 7 {
      while let word = words.next(), word != Array("ENDHDR".utf8) {
        switch String(decoding: word, as: UTF8.self) {
        case "WIDTH": width = try words.number()
        case "HEIGHT": height = try words.number()
        case "DEPTH": depth = try words.number()
        case "MAXVAL": longest = try words.number()
        default: words.skipLine()  // TUPLTYPE, which the depth tells as well
        }
      }
    } else {
      (width, height) = (try words.number(), try words.number())
      if kind != 1, kind != 4 { longest = try words.number() }
    }
    guard (1...65535).contains(longest) else { throw .broken("samples of up to \(longest)") }
    guard (1...4).contains(depth) else { throw .unsupported("\(depth) samples per pixel") }
    channels = depth
    self.longest = longest
    isText = kind <= 3
    isBits = kind == 1 || kind == 4
    position = words.position
    header = ImageHeader(width: width, height: height, hasAlpha: depth == 2 || depth == 4)
  }

  /// Words between spaces; `#` begins a comment to the end of the line.
  private struct Words {
    private let file: [UInt8]
    /// After the word and the one space that ends it.
    private(set) var position: Int

    init(_ file: [UInt8], at start: Int) {
      self.file = file
      position = start
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    mutating func next() -> [UInt8]? {
      skipSpace()
      let start = position
      while position < file.count, !Self.isSpace(file[position]), file[position] != UInt8(ascii: "#") { position += 1 }
      guard position > start else { return nil }
      let word = Array(file[start..<position])
      if position < file.count, Self.isSpace(file[position]) { position += 1 }
      return word
    }

    /// The next black or white, which need no space between them.
    mutating func bit() throws(DecodingFailure) -> Int? {
      skipSpace()
      guard let byte = file.byte(position) else { return nil }
      position += 1
      guard byte == UInt8(ascii: "0") || byte == UInt8(ascii: "1") else {
        throw .broken("a bit that is neither 0 nor 1")
      }
      return byte - Int(UInt8(ascii: "0"))
    }

    private mutating func skipSpace() {
      while position < file.count, Self.isSpace(file[position]) || file[position] == UInt8(ascii: "#") {
        if file[position] == UInt8(ascii: "#") { skipLine() } else { position += 1 }
      }
    }

    mutating func skipLine() {
      while position < file.count, file[position] != 0x0A, file[position] != 0x0D { position += 1 }
    }

    mutating func number() throws(DecodingFailure) -> Int {
      guard let number = try numberIfAny() else { throw .cutOff }
      return number
    }

    /// nil at the end of the file.
    mutating func numberIfAny() throws(DecodingFailure) -> Int? {
      guard let word = next() else { return nil }
      guard word.count <= 9, let number = Int(String(decoding: word, as: UTF8.self)), number >= 0 else {
        throw .broken("a number that is none")
      }
      return number
    }
  }

  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage? {
    let samples = header.width * header.height * channels
    let step = isBits ? (header.width + 7) / 8 : 0
    let each = longest > 255 ? 2 : 1
    let needed = isBits ? step * header.height : samples * each
    guard isText || acceptsDamaged || file.count - position >= needed else { throw .cutOff }
    pixels.initialize(repeating: 0)
    var words = Words(file, at: position)
    for i in 0..<samples {
      let sample: Int?
      if isText, isBits {
        sample = try words.bit().map { 1 - $0 }
      } else if isText {
        sample = try words.numberIfAny()
      } else if isBits {
        let (x, y) = (i % header.width, i / header.width)
        sample = file.byte(position + y * step + x / 8).map { 1 - $0 >> (7 - x % 8) & 1 }
      } else if each == 2 {
        sample = file.byte(position + 2 * i + 1).map { Int(file[position + 2 * i]) << 8 | $0 }
      } else {
        sample = file.byte(position + i)
      }
      guard let sample else {
        guard acceptsDamaged else { throw .cutOff }
        return ImageDamage(losesPixels: true, message: "\(samples - i) of \(samples) samples are missing")
      }
      put(UInt8((2 * min(sample, longest) * 255 + longest) / (2 * longest)), sample: i, pixels)
    }
    return nil
  }

  /// Greys are written three times.
  private func put(_ value: UInt8, sample: Int, _ pixels: UnsafeMutableBufferPointer<UInt8>) {
    let (pixel, channel) = (sample / channels, sample % channels)
    let out = (header.hasAlpha ? 4 : 3) * pixel
    if channels >= 3 {
      pixels[out + channel] = value
    } else if channel == 1 {
      pixels[out + 3] = value
    } else {
      for c in 0..<3 { pixels[out + c] = value }
    }
  }
}
