import Foundation
import LimnCore

/// Which numbers a schema allows, and which beginnings of their text can still become one of them.
///
/// Numbers are written without exponent, in units small enough for every digit that may be written: integers with 18
/// digits, others with 12 before the point and 6 behind it. So a number always ends.
struct NumberBounds: Sendable, Hashable {
  private let isInteger: Bool
  /// In units of the last place.
  private let least: Int
  private let most: Int

  private var wholeDigits: Int { isInteger ? 18 : 12 }
  private var fractionDigits: Int { isInteger ? 0 : 6 }
  private static let limit = 999_999_999_999_999_999

  /// - Parameter bounds: as the schema has them; `isExclusive` ones are not allowed themselves.
  init(isInteger: Bool, least: Bound? = nil, most: Bound? = nil) {
    self.isInteger = isInteger
    let places = isInteger ? 0 : 6
    /// In units, rounded inwards; beyond what can be written, one more than the last.
    func units(_ bound: Bound, _ mode: NSDecimalNumber.RoundingMode) -> Int {
      let beyond = Self.limit + 1
      guard abs(bound.value) < (isInteger ? 1e18 : 1e12) else { return bound.value < 0 ? -beyond : beyond }
      // The shortest decimal number of a Double is what the schema's author wrote.
      let decimal =
        abs(bound.value) < 1e-12
        ? Decimal(bound.value.sign == .minus ? -1 : 1) / 1_000_000_000_000
        : Decimal(string: JSON.text(of: bound.value)) ?? 0
      var exact = bound.value == 0 ? 0 : decimal * pow(10, places), rounded = Decimal()
      NSDecimalRound(&rounded, &exact, 0, mode)
      let whole = NSDecimalNumber(decimal: rounded).intValue
      guard bound.isExclusive, rounded == exact else { return whole }
      return mode == .up ? whole + 1 : whole - 1
    }
    self.least = max(-Self.limit, least.map { units($0, .up) } ?? .min)
    self.most = min(Self.limit, most.map { units($0, .down) } ?? .max)
  }

  struct Bound: Hashable, Sendable {
    var value: Double
    var isExclusive = false
  }

  var isSatisfiable: Bool { allowsBeginning([]) }

  /// Whether more characters can make it an allowed number, or none are needed.
  func allowsBeginning(_ text: [UInt8]) -> Bool {
    if text.isEmpty { return least <= most }
    guard let parts = Parts(text, fractionDigits: fractionDigits, wholeDigits: wholeDigits) else { return false }
    let scale = Self.power(fractionDigits)
    if parts.whole.isEmpty { return parts.isNegative && allows(1...Self.limit, negative: true) }
    let whole = Self.value(parts.whole)
    if let fraction = parts.fraction {
      // At least one digit follows the point.
      let unit = Self.power(fractionDigits - fraction.count)
      let low = whole * scale + Self.value(fraction) * unit
      return allows(low...low + unit - 1, negative: parts.isNegative)
    }
    for more in 0...(parts.whole == [0x30] ? 0 : wholeDigits - parts.whole.count) {
      let low = whole * Self.power(more) * scale
      if allows(low...low + Self.power(more) * scale - 1, negative: parts.isNegative) { return true }
    }
    return false
  }

  /// A text that can go on in the same ways: without bounds, digits make no difference, so that there are few states.
  func representative(of text: [UInt8]) -> [UInt8] {
    guard least == -Self.limit, most == Self.limit else { return text }
    guard text.contains(where: { (0x31...0x39).contains($0) }) else { return text }
    let point = text.firstIndex(of: UInt8(ascii: ".")) ?? text.endIndex
    return text.indices.map { index in
      let isDigit = (0x30...0x39).contains(text[index])
      // A whole part of 0 stays one; in the fraction, one digit other than 0 is as good as all.
      let isLoneZero = index < point && text[index] == 0x30 && (index == 0 || !(0x30...0x39).contains(text[index - 1]))
      return isDigit && !isLoneZero ? 0x31 : text[index]
    }
  }

  /// Whether it is an allowed number as it stands.
  func isComplete(_ text: [UInt8]) -> Bool {
    guard let parts = Parts(text, fractionDigits: fractionDigits, wholeDigits: wholeDigits), !parts.whole.isEmpty,
      parts.fraction?.isEmpty != true
    else { return false }
    var value = Self.value(parts.whole) * Self.power(fractionDigits)
    if let fraction = parts.fraction { value += Self.value(fraction) * Self.power(fractionDigits - fraction.count) }
    return allows(value...value, negative: parts.isNegative)
  }

  /// Whether one of these magnitudes, in units, is allowed. There is no negative zero.
  private func allows(_ magnitudes: ClosedRange<Int>, negative: Bool) -> Bool {
    negative
      ? max(least, -magnitudes.upperBound) <= min(most, -max(1, magnitudes.lowerBound))
      : max(least, magnitudes.lowerBound) <= min(most, magnitudes.upperBound)
  }

  private static func value(_ digits: [UInt8]) -> Int { digits.reduce(0) { $0 * 10 + Int($1 - 0x30) } }
  private static func power(_ exponent: Int) -> Int { (0..<exponent).reduce(1) { value, _ in value * 10 } }

  /// The parts of a number's beginning; nil: it is not one, or has too many digits.
  private struct Parts {
    var isNegative = false
    var whole: [UInt8] = []
    var fraction: [UInt8]?

    init?(_ text: [UInt8], fractionDigits: Int, wholeDigits: Int) {
      for byte in text {
        switch byte {
        case UInt8(ascii: "-") where !isNegative && whole.isEmpty: isNegative = true
        case UInt8(ascii: ".") where !whole.isEmpty && fraction == nil && fractionDigits > 0: fraction = []
        case 0x30...0x39:
          if fraction != nil {
            fraction!.append(byte)
          } else if whole == [0x30] {
            return nil
          } else {
            whole.append(byte)
          }
        default: return nil
        }
      }
      guard whole.count <= wholeDigits, fraction?.count ?? 0 <= fractionDigits else { return nil }
    }
  }
}
