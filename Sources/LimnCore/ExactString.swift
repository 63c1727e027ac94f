/// A string that equals another only if all bytes do. `String` itself treats canonically equivalent texts as equal,
/// which would merge distinct tokens and tensor names, and hashes more slowly because of it.
package struct ExactString: Hashable, Sendable {
  package let value: String

  package init(_ value: String) { self.value = value }

  package static func == (a: ExactString, b: ExactString) -> Bool {
    var (a, b) = (a.value, b.value)
    return a.withUTF8 { a in b.withUTF8 { b in a.count == b.count && a.elementsEqual(b) } }
  }

  package func hash(into hasher: inout Hasher) {
    var value = value
    value.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    hasher.combine(0xFF as UInt8)
  }
}

extension String {
  /// The pieces between the occurrences of another text, matched byte for byte; the whole text if it does not occur.
  package func cut(at separator: String) -> [String] {
    utf8.split(separator: separator.utf8, omittingEmptySubsequences: false).map { String(Substring($0)) }
  }
}
