import CLimnImage

/// A picture that one of the system's libraries decodes.
struct LibraryDecoder: ImageDecoder {
  typealias Read = (
    UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<limn_picture>?
  ) -> Int32

  let header: ImageHeader
  /// How to turn it upright, for formats that say so among their own fields.
  let orientation: Int
  private let file: [UInt8]
  private let read: Read
  private let picture: limn_picture

  init(_ file: [UInt8], _ read: @escaping Read, acceptsDamaged: Bool) throws(DecodingFailure) {
    var picture = limn_picture()
    picture.accepts_damage = acceptsDamaged ? 1 : 0
    try Self.check(read(file, file.count, nil, &picture), picture)
    header = ImageHeader(
      width: Int(picture.width), height: Int(picture.height), hasAlpha: picture.has_alpha != 0,
      isAnimated: picture.is_animated != 0)
    orientation = Int(picture.orientation)
    self.file = file
    self.read = read
    self.picture = picture
  }

  func decode(into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DecodingFailure) -> ImageDamage? {
    var picture = picture
    // Otherwise, pages that a failing decoder never reaches are never allocated by the system.
    if picture.accepts_damage != 0 { pixels.initialize(repeating: 0) }
    try Self.check(read(file, file.count, pixels.baseAddress, &picture), picture)
    guard picture.damage != LIMN_DAMAGE_NONE else { return nil }
    return ImageDamage(losesPixels: picture.damage == LIMN_DAMAGE_LOSS, message: Self.message(picture))
  }

  private static func check(_ status: Int32, _ picture: limn_picture) throws(DecodingFailure) {
    let reason: DecodingFailure.Reason
    switch Int(status) {
    case LIMN_PICTURE_OK: return
    case LIMN_PICTURE_CUT_OFF: reason = .cutOff
    case LIMN_PICTURE_UNSUPPORTED: reason = .unsupported
    case LIMN_PICTURE_NO_MEMORY: reason = .noMemory
    case LIMN_PICTURE_TOO_LARGE: reason = .tooLarge
    case LIMN_PICTURE_NO_LIBRARY: reason = .noLibrary
    default: reason = .broken
    }
    throw DecodingFailure(reason: reason, message: message(picture))
  }

  private static func message(_ picture: limn_picture) -> String {
    withUnsafeBytes(of: picture.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
