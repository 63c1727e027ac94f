/// What is done with pictures that are damaged or transparent.
public struct ImageOptions: Sendable, Equatable {
  /// A colour, 8 bits per channel.
  public struct Colour: Sendable, Equatable {
    /// How much red, green and blue there is.
    public var red, green, blue: UInt8

    /// #FFFFFF
    public static let white = Colour(red: 255, green: 255, blue: 255)
    /// #000000
    public static let black = Colour(red: 0, green: 0, blue: 0)

    /// From its parts.
    public init(red: UInt8, green: UInt8, blue: UInt8) { (self.red, self.green, self.blue) = (red, green, blue) }

    /// From `white`, `black` or `#rrggbb`; nil for anything else.
    public init?(_ text: String) {
      let digits = text.dropFirst().compactMap(\.hexDigitValue)
      switch text.lowercased() {
      case "white": self = .white
      case "black": self = .black
      case _ where text.hasPrefix("#") && text.utf8.count == 7 && digits.count == 6:
        let bytes = (0..<3).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
        self.init(red: bytes[0], green: bytes[1], blue: bytes[2])
      default: return nil
      }
    }
  }

  /// Whether pictures are decoded that lack some of their pixels, or have wrong ones; what is missing stays grey or
  /// black.
  public var acceptsDamaged = false
  /// The colour behind transparent parts. nil drops transparency, as transformers does: such parts have the colours that
  /// the file hides there.
  public var background: Colour?

  /// Damaged pictures are refused, and transparency is dropped.
  public init() {}
}
