internal import CLimnImage

import CLimnSystem

/// Filters by Pillow's numbers, as in preprocessor_config.json's `resample` (no model uses 0, nearest).
///
/// The results match Pillow's bit for bit: when an image shrinks, the filter widens with the scale
/// (antialiasing); the two axes are resampled one after the other; weights are computed in double precision
/// and rounded to 2^-22; the first pass's result is rounded to 8 bits.
package enum Resampling: Int, Sendable {
  case lanczos = 1
  case bilinear = 2
  case bicubic = 3

  /// Half the filter's width, in pixels of the smaller image.
  fileprivate var support: Double {
    switch self {
    case .lanczos: 3
    case .bilinear: 1
    case .bicubic: 2
    }
  }

  fileprivate func weight(at distance: Double) -> Double {
    let x = abs(distance)
    guard x < support else { return 0 }
    switch self {
    case .lanczos: return Self.sinc(x) * Self.sinc(x / 3)
    case .bilinear: return 1 - x
    case .bicubic:
      // The cubic convolution kernel with a = -0.5.
      let a = -0.5
      return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * a
    }
  }

  private static func sinc(_ x: Double) -> Double {
    x == 0 ? 1 : sin(x * .pi) / (x * .pi)
  }
}

/// For a range of outputs along one axis: where the inputs of each begin, their number, and their weights.
private struct Taps {
  var starts: [Int32] = []
  var counts: [Int32] = []
  /// [outputs, stride], in units of 2^-22
  var weights: [Int32] = []
  var stride = 1

  /// - Parameter outputs: which of the `size` outputs to compute.
  init(from inputs: Int, to size: Int, outputs: Range<Int>, filter: Resampling) {
    let one = Int32(1) << LIMN_RESAMPLE_BITS
    let scale = Double(inputs) / Double(size)
    guard inputs != size else {
      starts = outputs.map(Int32.init)
      counts = Array(repeating: 1, count: outputs.count)
      weights = Array(repeating: one, count: outputs.count)
      return
    }
    let filterScale = max(scale, 1)
    let support = filter.support * filterScale
    stride = Int(support.rounded(.up)) * 2 + 1
    weights.reserveCapacity(stride * outputs.count)
    var exact = [Double](repeating: 0, count: stride)
    for output in outputs {
      let center = (Double(output) + 0.5) * scale
      let first = max(0, Int(center - support + 0.5))
      let count = min(inputs, Int(center + support + 0.5)) - first
      var sum = 0.0
      for k in 0..<count {
        exact[k] = filter.weight(at: (Double(k + first) - center + 0.5) * (1 / filterScale))
        sum += exact[k]
      }
      for k in 0..<stride {
        let weight = k < count ? (sum != 0 ? exact[k] / sum : exact[k]) * Double(one) : 0
        weights.append(Int32(weight < 0 ? weight - 0.5 : weight + 0.5))
      }
      starts.append(Int32(first))
      counts.append(Int32(count))
    }
  }

  /// Resamples one row of pixels horizontally.
  func narrow(_ row: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 3 * starts.count) { out, initialised in
      narrow(row, into: out.baseAddress!)
      initialised = 3 * starts.count
    }
  }

  func narrow(_ row: [UInt8], into out: UnsafeMutablePointer<UInt8>) {
    limn_resample_row(row, starts, counts, weights, stride, starts.count, out)
  }

  /// Resamples rows of `count` bytes vertically. Requests the needed source rows one by one from the top and
  /// delivers each output row when it is complete, so that only the sums in progress are in memory.
  func combine(_ count: Int, row: (Int) -> [UInt8], finished: (_ output: Int, [UInt8]) -> Void) {
    guard let first = starts.first, let last = starts.last, let lastCount = counts.last else { return }
    var sums = [[Int32]](repeating: [], count: starts.count)
    var oldest = 0
    var newest = 0
    for y in Int(first)..<Int(last + lastCount) {
      while newest < starts.count, starts[newest] <= y {
        sums[newest] = Array(repeating: Int32(LIMN_RESAMPLE_HALF), count: count)
        newest += 1
      }
      guard oldest < newest else { continue }
      let bytes = row(y)
      for output in oldest..<newest {
        let weight = weights[output * stride + y - Int(starts[output])]
        limn_resample_add(bytes, weight, count, &sums[output])
      }
      while oldest < newest, Int(starts[oldest] + counts[oldest]) == y + 1 {
        var rounded = [UInt8](repeating: 0, count: count)
        limn_resample_round(sums[oldest], count, &rounded)
        finished(oldest, rounded)
        sums[oldest] = []
        oldest += 1
      }
    }
  }
}

/// An image on a background of one colour. The background need not exist in memory: 20,000 × 1 pixels padded
/// to a square would be 400 megapixels.
struct Canvas {
  var picture: RGBImage
  var size: PixelSize
  /// Position of the image's first pixel.
  var top = 0
  var left = 0
  var colour: [UInt8] = [0, 0, 0]

  init(_ picture: RGBImage) {
    self.picture = picture
    self.size = PixelSize(height: picture.height, width: picture.width)
  }

  /// The smallest square around the image; an odd padding pixel goes below or to the right.
  init(squareAround picture: RGBImage, colour: [UInt8]) {
    let side = max(picture.width, picture.height)
    self.picture = picture
    self.size = PixelSize(height: side, width: side)
    self.top = (side - picture.height) / 2
    self.left = (side - picture.width) / 2
    self.colour = colour
  }

  /// The part of the canvas, resampled to `target`, that a window of `window` pixels shows; black where the
  /// window extends beyond the edge. Computes only what the window shows.
  ///
  /// - Parameters:
  ///   - top: the row of the resampled canvas at the window's top; like `left`, it may be negative.
  func resampled(
    to target: PixelSize, window: PixelSize, top windowTop: Int, left windowLeft: Int, filter: Resampling
  ) -> RGBImage {
    let rows = max(0, windowTop)..<min(target.height, windowTop + window.height)
    let columns = max(0, windowLeft)..<min(target.width, windowLeft + window.width)
    let horizontal = Taps(from: size.width, to: target.width, outputs: columns, filter: filter)
    let vertical = Taps(from: size.height, to: target.height, outputs: rows, filter: filter)
    // Pillow's rule (since 13) for which pass comes first, on which the last bit of the result depends.
    let shrinkage = size.height - target.height
    let rowsFirst = shrinkage > 0 && shrinkage > 2 * (size.width - target.width)

    var result = [UInt8](repeating: 0, count: 3 * window.height * window.width)
    let offset = (rows.lowerBound - windowTop, columns.lowerBound - windowLeft)
    let ground = Array(repeatElement(colour, count: size.width).joined())
    if rowsFirst {
      vertical.combine(3 * size.width) { y in
        isInside(y) ? row(y, on: ground) : ground
      } finished: { output, row in
        result.withUnsafeMutableBufferPointer { result in
          let start = 3 * (window.width * (offset.0 + output) + offset.1)
          horizontal.narrow(row, into: result.baseAddress! + start)
        }
      }
    } else {
      let narrowGround = horizontal.narrow(ground)
      vertical.combine(3 * columns.count) { y in
        isInside(y) ? horizontal.narrow(row(y, on: ground)) : narrowGround
      } finished: { output, row in
        let start = 3 * (window.width * (offset.0 + output) + offset.1)
        result.replaceSubrange(start..<(start + row.count), with: row)
      }
    }
    return RGBImage(width: window.width, height: window.height, pixels: result)
  }

  private func isInside(_ y: Int) -> Bool {
    y >= top && y < top + picture.height
  }

  /// [size.width, 3]: a row of the canvas that crosses the image.
  private func row(_ y: Int, on ground: [UInt8]) -> [UInt8] {
    let stored = picture.pixels[3 * picture.width * (y - top)..<3 * picture.width * (y - top + 1)]
    guard size.width > picture.width else { return Array(stored) }
    var row = ground
    row.replaceSubrange(3 * left..<3 * (left + picture.width), with: stored)
    return row
  }
}
