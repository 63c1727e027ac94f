package import LimnFiles
package import LimnImage
package import LimnCore
import LimnTensor

/// A checkpoint's image processor, and the policy by which it fits images to the tower's size.
package struct ModelImageProcessor: Sendable {
  package let processor: ImageProcessor
  /// The policy in use: the caller's choice, or what `trained` means for this checkpoint.
  package let policy: PreprocessPolicy
  /// The reason for the policy, for `limn show`.
  package let reason: String
}

extension ModelImageProcessor {
  /// - Parameter policy: `trained` is resolved from the checkpoint.
  package init(_ checkpoint: Checkpoint, policy: PreprocessPolicy) throws(LimnError) {
    var configuration = try ImageProcessor.Configuration(checkpoint)
    let (trained, reason) = Self.trainedPolicy(checkpoint, configuration)
    configuration.trained = trained
    processor = try ImageProcessor(configuration)
    self.policy = policy == .trained ? trained : policy
    self.reason = policy == .trained ? reason : "as asked for"
  }

  package func process(_ image: RGBImage) throws(LimnError) -> ProcessedImage {
    try processor.process(image, policy: policy)
  }

  /// LLaVA was trained on padded squares, whatever a converted checkpoint's processor file says. Only a processor
  /// that knows how to pad, or the original config, can override that.
  private static func trainedPolicy(
    _ checkpoint: Checkpoint, _ configuration: ImageProcessor.Configuration
  ) -> (PreprocessPolicy, String) {
    if checkpoint.config.family == .llavaNext {
      return (.hf, "anyres tiles, as LLaVA-NeXT was trained")
    }
    switch (checkpoint.layout, checkpoint.config.aspectPolicy) {
    case (.original, "pad"?), (.gguf, "pad"?): return (.pad, "image_aspect_ratio is pad")
    case (_, nil) where configuration.kind == .siglip, (.gguf, _) where configuration.kind == .siglip:
      return (.hf, "SigLIP takes pictures stretched to its square")
    case (.gguf, "square"?): return (.crop, "image_aspect_ratio is square")
    case (.original, _) where configuration.kind == .siglip:
      return (.hf, "image_aspect_ratio is not pad")
    case (.original, let aspect?) where aspect != "pad":
      return (.crop, "image_aspect_ratio is \(aspect)")
    case (.original, _): return (.crop, "the config names no image_aspect_ratio")
    default: break
    }
    if configuration.kind == .llava {
      return (.hf, "the image processor itself says whether to pad")
    }
    return (.pad, "LLaVA-1.5 was trained on pictures padded to a square")
  }
}

extension ImageProcessor.Configuration {
  /// From preprocessor_config.json, or CLIP's defaults at the tower's size if there is none.
  init(_ checkpoint: Checkpoint) throws(LimnError) {
    let config = checkpoint.config
    if let vision = config.vision, vision.family == .siglip {
      self = .siglip(side: vision.imageSize)
    } else {
      self.init()
      if let side = config.vision?.imageSize {
        size = .shortestEdge(side)
        cropSize = PixelSize(height: side, width: side)
      }
    }
    if config.family == .llavaNext { kind = .llavaNext }
    gridPinpoints = config.gridPinpoints.map { PixelSize(height: $0.height, width: $0.width) }
    if let json = checkpoint.processorConfig { try read(json, checkpoint.reference) }
  }

  private mutating func read(_ json: JSON, _ place: String) throws(LimnError) {
    let fields = FieldReader(json: json, place: place + "/preprocessor_config.json")
    switch json["image_processor_type"]?.string ?? json["feature_extractor_type"]?.string {
    case let name? where name.hasPrefix("LlavaNextImageProcessor"): kind = .llavaNext
    case let name? where name.hasPrefix("LlavaImageProcessor"): kind = .llava
    // CLIPImageProcessor crops by default, even if somebody uses it to prepare images for a SigLIP.
    case let name? where name.hasPrefix("CLIP"): doCenterCrop = true
    default: break
    }
    doConvertRGB = try fields.bool("do_convert_rgb") ?? doConvertRGB
    doResize = try fields.bool("do_resize") ?? doResize
    doCenterCrop = try fields.bool("do_center_crop") ?? doCenterCrop
    doRescale = try fields.bool("do_rescale") ?? doRescale
    doNormalize = try fields.bool("do_normalize") ?? doNormalize
    doPad = try fields.bool("do_pad") ?? doPad
    rescaleFactor = try fields.bounded("rescale_factor") ?? rescaleFactor
    mean = try fields.triple("image_mean") ?? mean
    std = try fields.triple("image_std") ?? std
    if let filter = try fields.bounded("resample") {
      guard let known = Resampling(rawValue: Int(filter)) else {
        throw fields.wrong("resample", expected: "1, 2 or 3 (Lanczos, bilinear, bicubic)")
      }
      resample = known
    }
    if let edge = try fields.edge("size") {
      size = .shortestEdge(edge)
    } else if let extent = try fields.extent("size") {
      size = .exact(extent)
    } else if json.present("size") != nil {
      throw fields.wrong("size", expected: "shortest_edge, or height and width")
    }
    if let extent = try fields.extent("crop_size") { cropSize = extent }
    if let points = json["image_grid_pinpoints"]?.array, kind == .llavaNext {
      gridPinpoints = []
      for point in points {
        guard let pair = point.array, pair.count == 2, let height = pair[0].int, let width = pair[1].int,
          (1...16384).contains(height), (1...16384).contains(width)
        else { throw fields.wrong("image_grid_pinpoints", expected: "pairs of height and width") }
        gridPinpoints.append(PixelSize(height: height, width: width))
      }
    }
  }
}

extension FieldReader {
  fileprivate func bounded(_ field: String) throws(LimnError) -> Double? {
    guard let number = try double(field) else { return nil }
    guard abs(number) < 1e9 else { throw wrong(field, expected: "a number") }
    return number
  }

  /// Three numbers, or one for all three.
  fileprivate func triple(_ field: String) throws(LimnError) -> [Double]? {
    guard let value = json.present(field) else { return nil }
    let numbers = value.array?.compactMap(\.double) ?? value.double.map { [$0, $0, $0] } ?? []
    guard numbers.count == 3, numbers.allSatisfy(\.isFinite) else {
      throw wrong(field, expected: "three numbers")
    }
    return numbers
  }

  /// `{"shortest_edge": n}`, or just n.
  fileprivate func edge(_ field: String) throws(LimnError) -> Int? {
    guard let value = json.present(field), let edge = value["shortest_edge"] ?? (value.int == nil ? nil : value) else {
      return nil
    }
    guard let pixels = edge.int, (1...16384).contains(pixels) else {
      throw wrong(field, expected: "1…16384 pixels")
    }
    return pixels
  }

  /// `{"height": h, "width": w}`, or just n for both.
  fileprivate func extent(_ field: String) throws(LimnError) -> PixelSize? {
    guard let value = json.present(field) else { return nil }
    if let side = value.int, (1...16384).contains(side) { return PixelSize(height: side, width: side) }
    guard value["height"] != nil || value["width"] != nil else { return nil }
    guard let height = value["height"]?.int, let width = value["width"]?.int, (1...16384).contains(height),
      (1...16384).contains(width)
    else { throw wrong(field, expected: "height and width, 1…16384 pixels") }
    return PixelSize(height: height, width: width)
  }
}
