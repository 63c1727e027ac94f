import LimnCore

/// Assembles responses from their lines and picks the final one, skipping interim responses and followed redirects.
struct HeadReader {
  /// Limits servers that never stop sending headers.
  private static let maxBytes = 256 << 10

  var followsRedirects = false
  /// How many redirects were followed.
  private(set) var redirects = 0
  private var byteCount = 0
  private var status = 0
  private var headers: [(name: String, value: String)] = []

  /// Whether no line of the next response has arrived yet.
  var isEmpty: Bool { status == 0 }

  /// - Parameter line: includes its line ending.
  /// - Returns: the final response, at the empty line that ends its headers.
  mutating func receive(
    _ line: UnsafeRawBufferPointer, of transfer: Transfer
  ) throws(LimnError) -> Transfer.Response? {
    byteCount += line.count
    guard byteCount <= Self.maxBytes else {
      throw .badData("the server's headers are too large", in: transfer.url, expected: "at most 256 KB")
    }
    let text = String(decoding: line, as: UTF8.self).trimmed
    if text.hasPrefix("HTTP/") && headers.isEmpty && isEmpty {
      status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    } else if text.isEmpty {
      return endOfHead()
    } else if let colon = text.firstIndex(of: ":") {
      headers.append((text[..<colon].lowercased(), String(text[text.index(after: colon)...]).trimmed))
    }
    return nil
  }

  private mutating func endOfHead() -> Transfer.Response? {
    defer { (status, headers) = (0, []) }
    let head = Transfer.Response(status: status, headers: headers)
    if (100..<200).contains(status) { return nil }
    if followsRedirects, (300..<400).contains(status), head["location"]?.isEmpty == false {
      redirects += 1
      return nil
    }
    return head
  }
}

extension String {
  fileprivate var trimmed: String {
    let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\n" || $0 == "\r\n" }
    return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
  }
}
