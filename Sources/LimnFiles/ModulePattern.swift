import Foundation
import LimnCore

/// A key of peft's `rank_pattern` and `alpha_pattern`: a regular expression that the whole name of a module matches, or
/// its end after a dot.
struct ModulePattern {
  private let expression: NSRegularExpression
  private let source: String

  init(_ source: String) throws(LimnError) {
    self.source = source
    // As peft puts it together.
    guard let expression = try? NSRegularExpression(pattern: "(.*\\.)?(\(source))$") else {
      throw LimnError.badData("a pattern that is no regular expression", found: source)
    }
    self.expression = expression
  }

  /// The matcher reports after every few thousand steps; no sensible pattern takes one report for a name.
  private static let maxReports = 100

  func matches(_ module: String) throws(LimnError) -> Bool {
    var (isMatch, reports) = (false, 0)
    let whole = NSRange(module.startIndex..., in: module)
    expression.enumerateMatches(in: module, options: [.anchored, .reportProgress], range: whole) { match, _, stop in
      isMatch = match != nil
      reports += 1
      if isMatch || reports > Self.maxReports { stop.pointee = true }
    }
    guard reports <= Self.maxReports else {
      throw LimnError.badData("a pattern that takes too long to match", found: source)
    }
    return isMatch
  }
}
