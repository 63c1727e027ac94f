/// Finds the longest of many words that starts at a given position of a text.
struct ByteTrie: Sendable {
  /// (node, byte) → node; the root is 0.
  private var edges: [UInt64: Int] = [:]
  /// The value of the word that ends at each node.
  private var values: [Int?] = [nil]
  /// Whether any word starts with this byte: rejects most positions at once.
  private var starts = [Bool](repeating: false, count: 256)

  var isEmpty: Bool { values.count == 1 }

  /// Of two equal words the later one wins. Empty words are ignored.
  mutating func insert(_ word: [UInt8], value: Int) {
    guard let first = word.first else { return }
    starts[Int(first)] = true
    var node = 0
    for byte in word {
      let edge = UInt64(node) << 8 | UInt64(byte)
      if let next = edges[edge] {
        node = next
      } else {
        values.append(nil)
        edges[edge] = values.count - 1
        node = values.count - 1
      }
    }
    values[node] = value
  }

  /// The length in bytes and the value of the longest word that starts here.
  @inline(__always)
  func longestMatch(in text: Bytes, at start: Int) -> (count: Int, value: Int)? {
    guard starts[Int(text[start])] else { return nil }
    var longest: (count: Int, value: Int)?
    visitMatches(in: text, at: start) { longest = ($0, $1) }
    return longest
  }

  /// Whether a word begins with the text from here to its end.
  func beginsWord(_ text: Bytes, at start: Int) -> Bool {
    guard starts[Int(text[start])] else { return false }
    var node = 0
    for index in start..<text.count {
      guard let next = edges[UInt64(node) << 8 | UInt64(text[index])] else { return false }
      node = next
    }
    return true
  }

  /// Calls `visit` with the length in bytes and the value of each word that starts here, shortest first.
  func visitMatches(in text: Bytes, at start: Int, _ visit: (_ count: Int, _ value: Int) -> Void) {
    guard starts[Int(text[start])] else { return }
    var node = 0
    for index in start..<text.count {
      guard let next = edges[UInt64(node) << 8 | UInt64(text[index])] else { return }
      node = next
      if let value = values[node] { visit(index + 1 - start, value) }
    }
  }
}
