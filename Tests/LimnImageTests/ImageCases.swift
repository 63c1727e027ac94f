import Foundation
import LimnImage
import LimnFiles
import Testing

/// The cases that Tools/fixtures/images.py writes: images, and Pillow's and transformers' pixels for them.
struct ImageCases: Decodable {
  struct Decoding: Decodable, CustomTestStringConvertible {
    var image: String
    var pixels: String
    var testDescription: String { image }
  }

  struct Processing: Decodable, CustomTestStringConvertible {
    var image: String
    var policy: String
    var configuration: PreprocessorConfig
    var pixels: String
    var testDescription: String { "\(image), \(configuration.kind), \(policy), \(pixels)" }
  }

  struct Refused: Decodable, CustomTestStringConvertible {
    var image: String
    var reason: String
    var testDescription: String { image }
  }

  var decoding: [Decoding]
  var processing: [Processing]
  var refused: [Refused]
  var anyres: [[Int]]

  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/Images")

  static let all = read(folder)

  static func read(_ folder: URL) -> ImageCases {
    do {
      let json = try Data(contentsOf: folder.appending(path: "cases.json"))
      return try JSONDecoder().decode(ImageCases.self, from: json)
    } catch {
      fatalError("Tests/Fixtures/Images is missing; write it with Tools/fixtures/images.py: \(error)")
    }
  }

  static func bytes(_ name: String) throws -> [UInt8] {
    try Array(Data(contentsOf: folder.appending(path: name)))
  }

  static func array(_ name: String) throws -> NumpyFile {
    try NumpyFile(folder.appending(path: name).path)
  }
}

/// preprocessor_config.json, as far as the cases use it.
struct PreprocessorConfig: Decodable {
  struct Size: Decodable {
    var shortest_edge: Int?
    var height: Int?
    var width: Int?
  }

  var kind: String
  var do_resize, do_center_crop, do_rescale, do_normalize, do_pad: Bool
  var size: Size
  var crop_size: Size
  var resample: Int
  var rescale_factor: Double
  var image_mean: [Double]
  var image_std: [Double]
  var image_grid_pinpoints: [[Int]]?

  var configuration: ImageProcessor.Configuration {
    var result = ImageProcessor.Configuration()
    result.kind = kind == "llava" ? .llava : kind == "llavaNext" ? .llavaNext : .clip
    result.doResize = do_resize
    result.doCenterCrop = do_center_crop
    result.doRescale = do_rescale
    result.doNormalize = do_normalize
    result.doPad = do_pad
    if let edge = size.shortest_edge { result.size = .shortestEdge(edge) }
    if let height = size.height, let width = size.width {
      result.size = .exact(PixelSize(height: height, width: width))
    }
    result.cropSize = PixelSize(height: crop_size.height ?? 0, width: crop_size.width ?? 0)
    result.resample = Resampling(rawValue: resample)!
    result.rescaleFactor = rescale_factor
    result.mean = image_mean
    result.std = image_std
    let pairs = (image_grid_pinpoints ?? []).map { ($0[0], $0[1]) }
    result.gridPinpoints = pinpoints(pairs)
    return result
  }
}

/// Pairs of height and width, as in transformers' configs.
func pinpoints(_ pairs: [(Int, Int)]) -> [PixelSize] {
  pairs.map { PixelSize(height: $0.0, width: $0.1) }
}
