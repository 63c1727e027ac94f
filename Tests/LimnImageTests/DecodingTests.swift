import LimnImage
import LimnCore
import LimnTensor
import LimnFiles
import Testing

@Suite("Decoding")
struct DecodingTests {
  @Test("every format, layout and orientation decodes to Pillow's pixels", arguments: ImageCases.all.decoding)
  func pixels(_ example: ImageCases.Decoding) throws {
    let picture = try RGBImage(decoding: ImageCases.bytes(example.image), name: example.image)
    let expected = try ImageCases.array(example.pixels)
    #expect([picture.height, picture.width, 3] == expected.shape)
    let differing = zip(picture.pixels, expected.data).count { $0 != $1 }
    #expect(differing == 0, "of \(expected.data.count) values")
  }

  @Test("16-bit grey keeps its high byte")
  func gray16() throws {
    // Pillow saturates here; 4 × 1 pixels: 0, 255, 256, 0x8000.
    let png = try ImageCases.bytes("gray-16.png")
    #expect(try RGBImage(decoding: png, name: "x").pixels == [0, 0, 0, 0, 0, 0, 1, 1, 1, 128, 128, 128])
  }

  @Test("a PNG is rotated by the EXIF in older ImageMagick's text chunk, unless that is invalid")
  func rawProfile() throws {
    let png = try ImageCases.bytes("exif-6.png")
    // After the signature and the header.
    let chunk = 33..<83
    try #require(png[37..<41].elementsEqual("eXIf".utf8))
    func picture(_ profile: String) throws -> RGBImage {
      let text = Array("Raw profile type exif\0\(profile)".utf8)
      var other: [UInt8] = [0, 0, UInt8(text.count >> 8), UInt8(text.count & 255)]
      other += Array("tEXt".utf8)
      other += text
      other += [0, 0, 0, 0]  // A checksum, which libpng ignores in text chunks.
      var changed = png
      changed.replaceSubrange(chunk, with: other)
      return try RGBImage(decoding: changed, name: "x")
    }
    let block: [UInt8] = Array("Exif\0\0".utf8) + Array(png[41..<79])
    let digits = block.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
    let lines = digits.prefix(36).joined() + "\n" + digits.dropFirst(36).joined()
    let turned = try picture("\nexif\n      44\n\(lines)\n")
    let expected = try RGBImage(decoding: png, name: "x")
    #expect(turned == expected)
    for broken in ["", "\nexif\n", "\nexif\n 44\n", "\nexif\n 44\n4", "\nexif\n 44\nno digits\n"] {
      let stored = try picture(broken)
      #expect(stored.width == turned.height && stored.height == turned.width, "\(broken.debugDescription)")
    }
  }

  @Test("incomplete, hostile and foreign files are refused with a reason", arguments: ImageCases.all.refused)
  func refused(_ example: ImageCases.Refused) throws {
    let bytes = try ImageCases.bytes(example.image)
    let error = #expect(throws: LimnError.self) {
      try RGBImage(decoding: bytes, name: example.image)
    }
    #expect(error?.kind == .badData)
    #expect(error?.place == example.image)
    #expect(error?.description.contains(example.reason) == true, "\(error?.description ?? "")")
  }

  @Test("a small progressive JPEG that needs over a gigabyte is refused before decoding")
  func progressiveBomb() throws {
    var jpeg = try ImageCases.bytes("progressive.jpg")
    let frame = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC2 })
    // 14,000 × 14,000 pixels, with the three components at full resolution.
    jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0x36, 0xB0, 0x36, 0xB0])
    for component in 0..<3 { jpeg[frame + 11 + 3 * component] = 0x11 }
    let error = #expect(throws: LimnError.self) { try RGBImage(decoding: jpeg, name: "bomb.jpg") }
    #expect(error?.kind == .badData && error?.description.contains("too large") == true)
  }

  @Test(
    "a file truncated at any byte is refused, unless it has all its pixels",
    arguments: ["baseline-420.jpg", "progressive.jpg", "rgba.png", "lossy.webp", "exif-8.webp"])
  func cut(_ name: String) throws {
    let bytes = try ImageCases.bytes(name)
    let whole = try RGBImage(decoding: bytes, name: name)
    for count in 0..<bytes.count {
      do {
        let image = try RGBImage(decoding: Array(bytes.prefix(count)), name: name)
        #expect(image.pixels == whole.pixels && !image.warnings.isEmpty, "\(count) bytes of \(name)")
        // No picture can do without more than its end marker, or checksums and the last chunk.
        #expect(count > bytes.count - 30)
      } catch {
        #expect(error.kind == .badData)
      }
    }
  }

  @Test(
    "damaged files are refused or decoded, and never crash",
    arguments: [
      "baseline-420.jpg", "progressive.jpg", "exif-6.jpg", "cmyk.jpg", "rgba.png", "palette-4.png",
      "exif-6.png", "lossless.webp", "alpha.webp", "animated-offset.webp", "exif-8.webp",
    ])
  func damage(_ name: String) throws {
    let bytes = try ImageCases.bytes(name)
    var generator = SplitMix(state: 1)
    for _ in 0..<300 {
      var damaged = bytes
      for _ in 0..<(1 + generator.next() % 4) {
        let place = Int(generator.next() % UInt64(bytes.count))
        damaged[place] = UInt8(truncatingIfNeeded: generator.next() >> 16)
      }
      do {
        let picture = try RGBImage(decoding: damaged, name: name)
        #expect(picture.pixels.count == 3 * picture.width * picture.height)
      } catch {
        #expect(error.kind == .badData)
      }
    }
  }
}

/// Random numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
