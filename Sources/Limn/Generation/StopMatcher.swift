/// Finds stop strings in text that arrives in pieces, and holds back text that may become one.
package struct StopMatcher: Sendable {
  private let stops: [[UInt8]]
  private var held: [UInt8] = []
  /// Which stop string was found; nothing is returned after it.
  package private(set) var found: String?

  /// Whether a stop string was found.
  package var isStopped: Bool { found != nil }

  package init(_ stops: [String]) {
    self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
  }

  /// Takes the next piece, and returns the text that can no longer be part of a stop string, without the stop string
  /// itself.
  package mutating func append(_ text: String) -> String {
    guard !isStopped else { return "" }
    guard !stops.isEmpty else { return text }
    held.append(contentsOf: text.utf8)
    if let (start, stop) = firstStop() {
      found = String(decoding: stop, as: UTF8.self)
      defer { held = [] }
      return String(decoding: held[..<start], as: UTF8.self)
    }
    let keep = longestBeginning()
    defer { held.removeFirst(held.count - keep) }
    return String(decoding: held[..<(held.count - keep)], as: UTF8.self)
  }

  /// Returns the text held back, when no more text comes.
  package mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }

  /// Where the earliest stop string begins, and which one it is.
  private func firstStop() -> (start: Int, stop: [UInt8])? {
    for start in held.indices {
      if let stop = stops.first(where: { held[start...].starts(with: $0) }) { return (start, stop) }
    }
    return nil
  }

  /// How many bytes at the end of the text are the beginning of a stop string.
  private func longestBeginning() -> Int {
    for start in held.indices {
      let tail = held[start...]
      if stops.contains(where: { $0.count > tail.count && $0.starts(with: tail) }) { return tail.count }
    }
    return 0
  }
}
