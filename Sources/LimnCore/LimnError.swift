/// Everything that limn refuses or fails at, worded for the person who has to mend it.
///
/// One type for the whole package, so that a message reads the same wherever it arises and the command maps
/// it to an exit code in one place. Programmer errors trap instead.
public struct LimnError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Who has to act, and with it the command's exit code (the numbers of sysexits.h).
  public enum Kind: Int32, Sendable {
    /// The command line or the arguments of a call make no sense together.
    case usage = 2
    /// A file, picture, template or prompt that is broken, hostile or not supported.
    case badData = 65
    /// A file or model that is not there.
    case notFound = 66
    /// The network, the disk or the machine does not give what is needed.
    case unavailable = 69
    /// A defect of limn itself.
    case defect = 70
    /// The user stopped it.
    case interrupted = 130
  }

  public var kind: Kind
  /// What went wrong, in a short sentence without a full stop: "tensor data ends too early".
  public var what: String
  /// Where: a file, a tensor, a line.
  public var place: String?
  /// What was expected, and what was found instead.
  public var expected: String?
  public var found: String?
  /// What to do about it, as an imperative.
  public var remedy: String?

  public init(
    _ kind: Kind, _ what: String, in place: String? = nil, expected: String? = nil, found: String? = nil,
    remedy: String? = nil
  ) {
    self.kind = kind
    self.what = what
    self.place = place
    self.expected = expected
    self.found = found
    self.remedy = remedy
  }

  /// Bad input data (exit code 65).
  public static func badData(
    _ what: String, in place: String? = nil, expected: String? = nil, found: String? = nil,
    remedy: String? = nil
  ) -> LimnError {
    LimnError(.badData, what, in: place, expected: expected, found: found, remedy: remedy)
  }

  /// One line: `place: what: expected …, found …; remedy`. Control characters, which a hostile file may
  /// bring in by way of a name, become `?`; names are cut at 200 characters.
  public var description: String {
    var line = ""
    if let place { line += Self.printable(place) + ": " }
    line += Self.printable(what)
    if let expected { line += ": expected " + Self.printable(expected) }
    if let found { line += (expected == nil ? ": found " : ", found ") + Self.printable(found) }
    if let remedy { line += "; " + Self.printable(remedy) }
    return line
  }

  /// A text from a file, fit for a terminal.
  package static func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(400) {
      let control = scalar.properties.generalCategory == .control || scalar == "\u{FFFD}"
      let invisible = [.format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned]
        .contains(scalar.properties.generalCategory)
      result.unicodeScalars.append(control || invisible ? "?" : scalar)
    }
    return text.unicodeScalars.count > 400 ? result + "…" : result
  }
}
