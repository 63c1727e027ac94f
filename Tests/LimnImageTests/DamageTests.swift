import LimnCore
import LimnImage
import Testing

/// A file decoded with and without accepting damage.
private func decode(_ bytes: [UInt8], accepts: Bool = false) throws(LimnError) -> RGBImage {
  var options = ImageOptions()
  options.acceptsDamaged = accepts
  return try RGBImage(decoding: bytes, name: "x", options: options)
}

/// Where a PNG's last chunk of this type begins, with its length.
private func lastChunk(_ type: String, in png: [UInt8]) throws -> Int {
  var (position, last) = (8, Int?.none)
  while position + 12 <= png.count {
    if png[position + 4..<position + 8].elementsEqual(type.utf8) { last = position }
    position += 12 + png[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
  }
  return try #require(last, "no \(type)")
}

@Suite("Damaged pictures")
struct DamageTests {
  @Test("a PNG with all its pixels and a damaged end or checksum is decoded, with one warning")
  func png() throws {
    let png = try ImageCases.bytes("rgba.png")
    let whole = try decode(png)
    let (data, end) = (try lastChunk("IDAT", in: png), try lastChunk("IEND", in: png))
    let dataEnd = data + 8 + png[data..<data + 4].reduce(0) { $0 << 8 | Int($1) }
    var cases: [String: [UInt8]] = [
      "no end": Array(png[..<end]), "the end cut": Array(png.dropLast()),
      "the data's checksums cut": Array(png[..<(dataEnd - 4)]),
      "noise for an end": png[..<end] + [UInt8](repeating: 0xA5, count: 40),
    ]
    for (name, place) in [("the data's checksum", dataEnd), ("the end's checksum", png.count - 1)] {
      cases[name] = png
      cases[name]?[place] ^= 0xFF
    }
    for (name, bytes) in cases {
      let image = try decode(bytes)
      #expect(image.pixels == whole.pixels, "\(name)")
      #expect(image.warnings.count == 1 && image.warnings.first?.description.contains("every pixel is there") == true)
    }
    #expect(whole.warnings.isEmpty)
  }

  @Test("a PNG whose pixels may be wrong or are missing is refused, unless that is accepted")
  func lostPNG() throws {
    let png = try ImageCases.bytes("rgba.png")
    let whole = try decode(png)
    let data = try lastChunk("IDAT", in: png)
    var flipped = png
    // Both checksums are wrong.
    flipped[data + 100] ^= 0x10
    var palette = try ImageCases.bytes("palette-8.png")
    palette[try lastChunk("PLTE", in: palette) + 9] ^= 0x10
    for (bytes, reason) in [(Array(png.prefix(png.count / 2)), "cut off"), (flipped, "damaged"), (palette, "damaged")] {
      let error = #expect(throws: LimnError.self) { try decode(bytes) }
      #expect(error?.kind == .badData && error?.description(for: .command).contains(reason) == true)
      #expect(error?.description(for: .command).contains("--accept-damaged") == true)
      let image = try decode(bytes, accepts: true)
      #expect(image.warnings.count == 1 && image.warnings.first?.description.contains("missing or wrong") == true)
    }
    let half = try decode(Array(png.prefix(png.count / 2)), accepts: true)
    #expect(half.width == whole.width && half.height == whole.height)
    // It is interlaced: of some rows there is something, of others nothing.
    #expect(half.pixels.prefix(3 * whole.width) == whole.pixels.prefix(3 * whole.width))
    #expect(half.pixels != whole.pixels && half.pixels.count { $0 == 0 } > 3 * whole.width)
  }

  @Test(
    "a JPEG without its end marker is decoded, with one warning", arguments: ["baseline-420.jpg", "progressive.jpg"])
  func jpeg(_ name: String) throws {
    let jpeg = try ImageCases.bytes(name)
    for missing in 1...2 {
      let image = try decode(Array(jpeg.dropLast(missing)))
      #expect(image.pixels == (try decode(jpeg)).pixels)
      #expect(image.warnings.count == 1 && image.warnings.first?.description.contains("every pixel is there") == true)
    }
  }

  @Test(
    "of a picture that is cut off, what there is is decoded if that is accepted",
    arguments: ["baseline-420.jpg", "progressive.jpg", "cut-and-closed.jpg", "lossy.webp", "lossless.webp"])
  func half(_ name: String) throws {
    let bytes = try ImageCases.bytes(name)
    let half = name == "cut-and-closed.jpg" ? bytes : Array(bytes.prefix(bytes.count * 2 / 3))
    let error = #expect(throws: LimnError.self) { try decode(half) }
    #expect(error?.description.contains("cut off") == true)
    let image = try decode(half, accepts: true)
    #expect(image.warnings.count == 1 && image.warnings.first?.description.contains("missing or wrong") == true)
    // libwebp gives out rows only in groups that these small pictures do not fill.
    if name.hasSuffix("jpg") { #expect(Set(image.pixels).count > 20) }
  }

  @Test("a progressive JPEG that lacks only a whole scan is cut off")
  func lackingScan() throws {
    let jpeg = try ImageCases.bytes("progressive.jpg")
    let last = try #require(jpeg.indices.dropLast().last { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xDA })
    let error = #expect(throws: LimnError.self) { try decode(Array(jpeg[..<last])) }
    #expect(error?.description.contains("cut off") == true)
    #expect(try decode(Array(jpeg[..<last]), accepts: true).warnings.count == 1)
  }

  @Test("a PNG that is animated says so")
  func animatedPNG() throws {
    var png = try ImageCases.bytes("rgba.png")
    // acTL: three frames. Its checksum does not matter.
    png.insert(contentsOf: [0, 0, 0, 8] + Array("acTL".utf8) + [0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3, 4], at: 33)
    #expect(try decode(png).warnings.count == 1)
    #expect(try decode(ImageCases.bytes("animated.webp")).warnings == ["it is an animation; its first picture is used"])
  }
}
