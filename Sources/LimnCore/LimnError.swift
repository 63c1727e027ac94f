/// Everything that limn refuses or fails at, worded for the person who has to fix it.
///
/// One type for the whole package, so that a message reads the same wherever it arises. Programs switch on `code`;
/// people read `description`. Programmer errors trap instead.
public struct LimnError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Who has to act.
  public enum Kind: Sendable, CaseIterable {
    /// The arguments of a command or a call make no sense together.
    case usage
    /// A file, image, template or prompt is broken, hostile or unsupported.
    case badData
    /// A file or model does not exist.
    case notFound
    /// The network, the disk or the machine does not provide what is needed.
    case unavailable
    /// A defect of limn itself.
    case defect
    /// The user stopped it.
    case interrupted
  }

  /// Who has to act.
  public var kind: Kind
  /// The code by which a program can tell this error apart.
  public var code: Code
  /// What went wrong, as a short phrase without a full stop: "tensor data ends too early".
  public var what: Text
  /// Where: a file, a tensor, a line.
  public var place: String?
  /// What was expected.
  public var expected: String?
  /// What was found instead.
  public var found: String?
  /// What to do about it, as an imperative: "shorten it, or raise \(.context)".
  public var remedy: Text?

  /// - Parameter code: nil: the default for this kind.
  public init(
    _ kind: Kind, code: Code? = nil, _ what: Text, in place: String? = nil, expected: String? = nil,
    found: String? = nil, remedy: Text? = nil
  ) {
    self.kind = kind
    self.code = code ?? kind.usualCode
    self.what = what
    self.place = place
    self.expected = expected
    self.found = found
    self.remedy = remedy
  }

  /// Bad input data.
  public static func badData(
    code: Code? = nil, _ what: Text, in place: String? = nil, expected: String? = nil, found: String? = nil,
    remedy: Text? = nil
  ) -> LimnError {
    LimnError(.badData, code: code, what, in: place, expected: expected, found: found, remedy: remedy)
  }

  /// One line, with options named as in Swift.
  public var description: String { description(for: .swift) }

  /// One line: `place: what: expected …, found …; remedy`. Control characters, which a hostile file may smuggle in
  /// through a name, become `?`; names are cut at 400 characters.
  /// - Parameter channel: decides how options are named.
  public func description(for channel: Channel) -> String {
    var line = ""
    if let place { line += Self.printable(place) + ": " }
    line += Self.printable(what.description(for: channel))
    if let expected { line += ": expected " + Self.printable(expected) }
    if let found { line += (expected == nil ? ": found " : ", found ") + Self.printable(found) }
    if let remedy { line += "; " + Self.printable(remedy.description(for: channel)) }
    return line
  }

  /// A text from a file, made safe for a terminal.
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
