/// The set of code points that a pattern's class (`[^\s\p{L}]`, `\d`, `.`) matches.
struct CharacterSet: Sendable {
  enum Item: Sendable {
    case range(ClosedRange<UInt32>)
    /// A mask of `GeneralCategory`.
    case category(UInt32)
    case space
    case word
    /// Everything outside another set: `\S` and `\P{L}` inside a class.
    indirect case not(Item)
  }

  private let items: [Item]
  private let isNegated: Bool
  private let ignoresCase: Bool
  /// The precomputed answers for ASCII.
  private var ascii: (UInt64, UInt64) = (0, 0)

  init(_ items: [Item], negated: Bool = false, ignoresCase: Bool = false) {
    self.items = items
    isNegated = negated
    self.ignoresCase = ignoresCase
    for value in 0..<64 as Range<UInt32> where lookUp(value) { ascii.0 |= 1 << UInt64(value) }
    for value in 64..<128 as Range<UInt32> where lookUp(value) { ascii.1 |= 1 << UInt64(value - 64) }
  }

  @inline(__always)
  func contains(_ value: UInt32) -> Bool {
    if value < 64 { return ascii.0 >> UInt64(value) & 1 == 1 }
    if value < 128 { return ascii.1 >> UInt64(value - 64) & 1 == 1 }
    return lookUp(value)
  }

  private func lookUp(_ value: UInt32) -> Bool {
    var found = items.contains { Self.contains($0, value) }
    if ignoresCase && !found {
      found = Self.caseVariants(of: value).contains { variant in
        items.contains { Self.contains($0, variant) }
      }
    }
    return found != isNegated
  }

  private static func contains(_ item: Item, _ value: UInt32) -> Bool {
    switch item {
    case .range(let range): range.contains(value)
    case .category(let mask): Unicode.Scalar(value).map { GeneralCategory.mask(of: $0) & mask != 0 } ?? false
    case .space: CharacterClass(of: value).contains(.space)
    case .word: CharacterClass.isWord(value)
    case .not(let item): !contains(item, value)
    }
  }

  /// The other code points that equal this one when case is ignored. That includes "ſ" for s and the Kelvin
  /// sign for k.
  static func caseVariants(of value: UInt32) -> [UInt32] {
    guard let scalar = Unicode.Scalar(value) else { return [] }
    var variants: [UInt32] = []
    for mapping in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
      let scalars = mapping.unicodeScalars
      if scalars.count == 1, scalars.first!.value != value { variants.append(scalars.first!.value) }
    }
    switch value {
    case 0x53, 0x73: variants.append(0x17F)
    case 0x4B, 0x6B: variants.append(0x212A)
    case 0x17F: variants.append(0x73)
    case 0x212A: variants.append(0x4B)
    default: break
    }
    return variants
  }
}
