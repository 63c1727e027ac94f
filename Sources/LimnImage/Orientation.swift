/// How to turn a stored image upright: the values 1 … 8 of EXIF tag 0x0112, as a transposition and mirroring
/// of the stored rows and columns.
struct Orientation: Equatable {
  /// Swaps rows and columns, before mirroring.
  var transposes = false
  var mirrorsX = false
  var mirrorsY = false

  static let upright = Orientation()

  /// Values outside 2 … 8 leave the image unchanged.
  init(exif value: Int = 1) {
    switch value {
    case 2: mirrorsX = true
    case 3: (mirrorsX, mirrorsY) = (true, true)
    case 4: mirrorsY = true
    case 5: transposes = true
    case 6: (transposes, mirrorsX) = (true, true)
    case 7: (transposes, mirrorsX, mirrorsY) = (true, true, true)
    case 8: (transposes, mirrorsY) = (true, true)
    default: break
    }
  }

  func upright(_ stored: RGBImage) -> RGBImage {
    guard self != .upright else { return stored }
    let width = transposes ? stored.height : stored.width
    let height = transposes ? stored.width : stored.height
    // Byte offsets in the stored rows from one upright pixel to its right neighbour and to the one below.
    var right = transposes ? 3 * stored.width : 3
    var down = transposes ? 3 : 3 * stored.width
    var origin = 0
    if mirrorsX { (origin, right) = (origin + right * (width - 1), -right) }
    if mirrorsY { (origin, down) = (origin + down * (height - 1), -down) }
    let count = 3 * width * height
    let pixels = [UInt8](unsafeUninitializedCapacity: count) { out, initialised in
      stored.pixels.withUnsafeBufferPointer { source in
        // Works in tiles, because a transposed row touches every row of the source.
        let side = 64
        for top in stride(from: 0, to: height, by: side) {
          for left in stride(from: 0, to: width, by: side) {
            for y in top..<min(top + side, height) {
              var from = origin + down * y + right * left
              var to = 3 * (width * y + left)
              for _ in left..<min(left + side, width) {
                out[to] = source[from]
                out[to + 1] = source[from + 1]
                out[to + 2] = source[from + 2]
                from += right
                to += 3
              }
            }
          }
        }
      }
      initialised = count
    }
    return RGBImage(width: width, height: height, pixels: pixels)
  }
}
