import Foundation
import LimnCore
import LimnFiles
import LimnImage
import Testing

/// The cases that Tools/fixtures/formats.py writes: pictures, and Pillow's pixels for them.
struct FormatCases: Decodable {
  struct Decoding: Decodable, CustomTestStringConvertible {
    var image, pixels: String
    var largest: Int
    var mean: Double
    var isAnimated: Bool
    var testDescription: String { image }
  }

  struct Composited: Decodable, CustomTestStringConvertible {
    var image, background, pixels: String
    var isMostlyHidden: Bool
    var testDescription: String { image }
  }

  var decoding: [Decoding]
  var composited: [Composited]

  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/Formats")
  static let all: FormatCases = {
    do {
      return try JSONDecoder().decode(FormatCases.self, from: Data(contentsOf: folder.appending(path: "cases.json")))
    } catch {
      fatalError("Tests/Fixtures/Formats is missing; write it with Tools/fixtures/formats.py: \(error)")
    }
  }()

  static func bytes(_ name: String) throws -> [UInt8] { try Array(Data(contentsOf: folder.appending(path: name))) }
}

/// How far pixels are from those of a reference.
private func difference(_ image: RGBImage, _ reference: String) throws -> (largest: Int, mean: Double) {
  let expected = try NumpyFile(FormatCases.folder.appending(path: reference).path)
  try #require([image.height, image.width, 3] == expected.shape)
  let differences = zip(image.pixels, expected.data).map { abs(Int($0) - Int($1)) }
  return (differences.max() ?? 0, Double(differences.reduce(0, +)) / Double(differences.count))
}

@Suite("Formats that people have")
struct FormatTests {
  @Test("GIF, BMP, ICO, PNM, TIFF, HEIC and AVIF decode to Pillow's pixels", arguments: FormatCases.all.decoding)
  func pixels(_ example: FormatCases.Decoding) throws {
    // The name says nothing.
    let image = try RGBImage(decoding: FormatCases.bytes(example.image), name: "picture.jpg")
    let (largest, mean) = try difference(image, example.pixels)
    #expect(largest <= example.largest && mean <= example.mean, "\(largest), \(mean)")
    let saysSo = image.warnings.contains { $0.description.contains("first") }
    #expect(saysSo == example.isAnimated, "\(image.warnings)")
  }

  @Test("a transparent picture is composited on a colour like Pillow's", arguments: FormatCases.all.composited)
  func background(_ example: FormatCases.Composited) throws {
    var options = ImageOptions()
    options.background = try #require(ImageOptions.Colour(example.background))
    let bytes = try FormatCases.bytes(example.image)
    let image = try RGBImage(decoding: bytes, name: "x", options: options)
    #expect(try difference(image, example.pixels).largest <= 1)
    #expect(image.warnings.isEmpty && image.transparentColour == nil)
    // Without a colour, the hidden ones show, and where that is most of them, the viewer is told.
    let plain = try RGBImage(decoding: bytes, name: "x")
    #expect(plain.pixels != image.pixels)
    let tells = plain.warnings.contains { $0.description(for: .command).contains("--background white") }
    #expect(tells == example.isMostlyHidden, "\(plain.warnings)")
  }

  @Test("colours are white, black or six hexadecimal digits")
  func colours() {
    #expect(ImageOptions.Colour("White") == .white && ImageOptions.Colour("black") == .black)
    #expect(ImageOptions.Colour("#0aF0ff") == .init(red: 10, green: 240, blue: 255))
    for text in ["", "#", "#fff", "#12345g", "112233", "#1122334", "red", "#１12233"] {
      #expect(ImageOptions.Colour(text) == nil, "\(text)")
    }
  }

  @Test("grey of 16 bits keeps its high byte in every format")
  func grey16() throws {
    let map = Array("P5 4 1 65535\n".utf8) + [0, 0, 0, 0xFF, 1, 0, 0x80, 0]
    #expect(try RGBImage(decoding: map, name: "x").pixels == [0, 0, 0, 1, 1, 1, 1, 1, 1, 128, 128, 128])
  }

  @Test("a PAM has the channels that its header says")
  func pam() throws {
    let header = "P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    let image = try RGBImage(decoding: Array(header.utf8) + [1, 2, 3, 255, 4, 5, 6, 0], name: "x")
    #expect(image.pixels == [1, 2, 3, 4, 5, 6])
  }

  // MARK: Hostile files

  private static let small = [
    "interlaced.gif", "transparent.gif", "animated.gif", "palette-4.bmp", "565.bmp", "32-alpha.bmp", "runs-8.bmp",
    "runs-4.bmp", "os2.bmp", "mask.ico", "png.ico", "text.ppm", "text.pbm", "16-bit.ppm", "lzw.tif", "packbits.tif",
    "group4.tif", "jpeg.tif", "plain.heic", "420.avif",
  ]

  private static func options(damaged: Bool) -> ImageOptions {
    var options = ImageOptions()
    options.acceptsDamaged = damaged
    return options
  }

  @Test("a file that ends too early is refused, unless only bytes after the pixels are missing", arguments: small)
  func cut(_ name: String) throws {
    let bytes = try FormatCases.bytes(name)
    let whole = try RGBImage(decoding: bytes, name: name)
    for count in stride(from: 0, to: bytes.count, by: bytes.count > 2000 ? 13 : 3) {
      let start = Array(bytes.prefix(count))
      do {
        let image = try RGBImage(decoding: start, name: name)
        #expect(image.pixels == whole.pixels, "\(count) of \(bytes.count) bytes")
      } catch {
        #expect(error.kind == .badData, "\(count) bytes: \(error)")
      }
      // Accepted, it has the size of the whole one.
      guard let image = try? RGBImage(decoding: start, name: name, options: Self.options(damaged: true)) else {
        continue
      }
      #expect(image.pixels.count == 3 * image.width * image.height)
      if image.pixels != whole.pixels { #expect(!image.warnings.isEmpty, "\(count) bytes") }
    }
  }

  @Test("damaged files are refused or decoded, and never crash", arguments: small)
  func damage(_ name: String) throws {
    let bytes = try FormatCases.bytes(name)
    var generator = SplitMix(state: 5)
    for round in 0..<200 {
      var damaged = bytes
      for _ in 0..<(1 + generator.next() % 4) {
        // Half of it hits the headers.
        let range = round % 2 == 0 ? min(80, bytes.count) : bytes.count
        damaged[Int(generator.next() % UInt64(range))] = UInt8(truncatingIfNeeded: generator.next() >> 16)
      }
      do {
        let image = try RGBImage(decoding: damaged, name: name, options: Self.options(damaged: round % 4 < 2))
        #expect(image.pixels.count == 3 * image.width * image.height)
      } catch {
        #expect(error.kind == .badData, "\(error)")
      }
    }
  }

  @Test("a small file that claims a huge picture is refused before memory is taken")
  func bombs() throws {
    let large: [UInt8] = [0x50, 0xC3, 0, 0]  // 50,000
    var gif = try FormatCases.bytes("plain.gif")
    gif.replaceSubrange(6..<10, with: large[0..<2] + large[0..<2])
    var bmp = try FormatCases.bytes("rgb.bmp")
    bmp.replaceSubrange(18..<26, with: large + large)
    let map = Array("P6 50000 50000 255\n".utf8)
    var tiff = try FormatCases.bytes("raw.tif")
    let directory = Int(tiff[4]) | Int(tiff[5]) << 8
    for entry in 0..<Int(tiff[directory]) where [0, 1].contains(tiff[directory + 2 + 12 * entry]) {
      let field = directory + 2 + 12 * entry
      guard tiff[field + 1] == 1 else { continue }
      tiff.replaceSubrange(field + 2..<field + 12, with: [4, 0, 1, 0, 0, 0] + large)
    }
    for bytes in [gif, bmp, map, tiff] {
      let error = #expect(throws: LimnError.self) { try RGBImage(decoding: bytes, name: "x") }
      #expect(error?.code == .imageTooLarge, "\(error?.description ?? "")")
    }
  }

  @Test("files that begin like pictures and are none say so")
  func impostors() {
    for text in ["BMW is a maker of cars.", "P5 is not a picture, this is", "GIF8 is a name", "II* is no picture"] {
      let error = #expect(throws: LimnError.self) { try RGBImage(decoding: Array(text.utf8), name: "x") }
      #expect(error?.description.contains("not a picture") == true, "\(error?.description ?? "")")
    }
  }
}
