import LimnImage
import LimnCore
import LimnFiles
import Testing

@Suite("Image processors")
struct ImageProcessorTests {
  @Test("model pixels match transformers' bit for bit", arguments: ImageCases.all.processing)
  func pixels(_ example: ImageCases.Processing) throws {
    let picture = try RGBImage(decoding: ImageCases.bytes(example.image), name: example.image)
    let processor = try ImageProcessor(example.configuration.configuration)
    let policy = try #require(PreprocessPolicy(rawValue: example.policy))
    let processed = try processor.process(picture, policy: policy)
    let expected = try ImageCases.array(example.pixels)
    #expect([processed.tiles, 3, processed.height, processed.width] == expected.shape)
    let differing = zip(processed.pixels, expected.floats).count { $0 != $1 }
    #expect(differing == 0, "of \(expected.floats.count) values")
  }

  @Test("the trained policy follows the configuration")
  func trained() throws {
    let picture = RGBImage(width: 9, height: 4, pixels: (0..<108).map { UInt8($0 * 2) })
    var configuration = ImageProcessor.Configuration()
    configuration.size = .shortestEdge(8)
    configuration.cropSize = PixelSize(height: 8, width: 8)
    configuration.trained = .pad
    let processor = try ImageProcessor(configuration)
    #expect(try processor.process(picture).pixels == processor.process(picture, policy: .pad).pixels)
    #expect(try processor.process(picture).pixels != processor.process(picture, policy: .hf).pixels)
  }

  @Test("extreme aspect ratios need no memory for cropped pixels", arguments: PreprocessPolicy.allCases)
  func extreme(_ policy: PreprocessPolicy) throws {
    // As a square this would be 40 gigapixels; scaled to 336 rows, 67 million columns.
    let line = RGBImage(width: 200_000, height: 1, pixels: Array(repeating: 90, count: 600_000))
    let processed = try ImageProcessor(.init()).process(line, policy: policy)
    #expect(processed.pixels.count == 3 * 336 * 336)
    let middle = processed.pixels[336 * 168 + 168]
    let expected: Float = policy == .pad ? 122 : 90
    #expect(abs(middle - (expected / 255 - 0.48145466) / 0.26862954) < 0.01)
  }

  @Test("an image too narrow to pad is refused")
  func narrow() throws {
    let line = RGBImage(width: 1, height: 200_000, pixels: Array(repeating: 90, count: 600_000))
    let processor = try ImageProcessor(.init())
    #expect(try processor.process(line, policy: .crop).pixels.count == 3 * 336 * 336)
    let error = #expect(throws: LimnError.self) { try processor.process(line, policy: .pad) }
    #expect(error?.kind == .badData)
  }

  @Test("the description tells what the model saw")
  func description() throws {
    let picture = RGBImage(width: 30, height: 60, pixels: Array(repeating: 0, count: 5400))
    var configuration = ImageProcessor.Configuration()
    #expect(try ImageProcessor(configuration).process(picture).describe() == "30 × 60 as 336 × 336")
    configuration.kind = .llavaNext
    configuration.gridPinpoints = pinpoints([(672, 336), (336, 672)])
    let processed = try ImageProcessor(configuration).process(picture)
    #expect(processed.describe() == "30 × 60 as 336 × 336, whole and in 2 × 1 tiles")
    #expect(processed.originalSize == PixelSize(height: 60, width: 30))
  }

  @Test("an impossible configuration is refused")
  func impossible() {
    func expectRefusal(_ change: (inout ImageProcessor.Configuration) -> Void) {
      var configuration = ImageProcessor.Configuration()
      change(&configuration)
      let error = #expect(throws: LimnError.self) { try ImageProcessor(configuration) }
      #expect(error?.kind == .badData)
    }
    expectRefusal { $0.size = .shortestEdge(0) }
    expectRefusal { $0.cropSize.height = 1 << 40 }
    expectRefusal { $0.std = [1, 0, 1] }
    expectRefusal { $0.mean = [0.5] }
    expectRefusal { $0.rescaleFactor = .nan }
    expectRefusal { $0.kind = .llavaNext }
  }

  @Test("an image that a configuration without cropping would leave too large is refused")
  func uncropped() throws {
    var configuration = ImageProcessor.Configuration()
    configuration.doCenterCrop = false
    let line = RGBImage(width: 200_000, height: 1, pixels: Array(repeating: 90, count: 600_000))
    let processor = try ImageProcessor(configuration)
    #expect(throws: LimnError.self) { try processor.process(line, policy: .hf) }
  }
}
