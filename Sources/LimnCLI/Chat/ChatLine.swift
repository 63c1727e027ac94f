import Foundation

/// A line of a conversation: a command, or a question with the pictures that were dropped into it.
enum ChatLine: Equatable {
  /// "/image photo.jpg": the name without its slash, and what follows.
  case command(String, String)
  case question(String, pictures: [String])

  init(_ line: String) {
    let line = line.trimmingCharacters(in: .whitespacesAndNewlines)
    let name = line.dropFirst().prefix { !$0.isWhitespace }
    if line.hasPrefix("/"), name.allSatisfy(\.isLetter) {
      let rest = line.dropFirst(1 + name.count).trimmingCharacters(in: .whitespaces)
      self = .command(name.lowercased(), rest)
    } else {
      self = Self.question(in: line)
    }
  }

  /// Finds the pictures in a line as terminals write them when files are dropped. Those before the question, or after
  /// its end, are no part of it; of one inside a sentence, the file's name stays.
  /// - Parameter namesPicture: whether the line begins with a picture in any case, as after `/image`.
  static func question(in line: String, namesPicture: Bool = false) -> ChatLine {
    var (pictures, text, dropped): ([String], String, String) = ([], "", "")
    var rest = line[...]
    while true {
      let space = rest.prefix(while: \.isWhitespace)
      rest = rest[space.endIndex...]
      guard !rest.isEmpty else { break }
      let isFirst = text.isEmpty && dropped.isEmpty
      if let found = DroppedPicture(in: rest, isFirst: isFirst, isCertain: namesPicture && pictures.isEmpty) {
        pictures.append(found.name)
        if !isFirst { dropped += space + (found.name.split(separator: "/").last ?? "") }
        rest = rest[found.end...]
      } else {
        let word = rest.prefix { !$0.isWhitespace }
        text += dropped + (text.isEmpty ? "" : space) + word
        dropped = ""
        rest = rest[word.endIndex...]
      }
    }
    let ends = text.last.map { ".?!:;…。？！：；\"'”」)".contains($0) } ?? true
    return .question(ends || dropped.contains("\n") ? text : text + dropped, pictures: pictures)
  }
}

/// A picture at the beginning of a text, and where the text goes on.
struct DroppedPicture {
  let name: String
  let end: Substring.Index

  /// - Parameters:
  ///   - isFirst: whether nothing but pictures stands before it; then a bare name is one too.
  ///   - isCertain: whether it is known to be a picture.
  init?(in text: Substring, isFirst: Bool, isCertain: Bool) {
    let word = ShellWord(text)
    let isPath = PictureName.isPath(word.text)
    // A path that nobody quoted: up to the last space that makes it an existing file.
    let ends = isPath || isFirst ? Self.ends(of: text) : []
    for end in ends.reversed() {
      let candidate = String(text[..<end])
      if Self.isFile(candidate), isPath || isCertain || PictureName.endsLikePicture(candidate) {
        (name, self.end) = (candidate, end)
        return
      }
    }
    for (candidate, end) in word.readings {
      let isThere = (isPath || isCertain) && Self.isFile(candidate)
      let looksLike = PictureName.endsLikePicture(candidate)
      let isAddress = PictureName.isAddress(candidate) && !candidate.lowercased().hasPrefix("file:")
      if isThere || looksLike && (isPath || isFirst || isAddress || Self.isFile(candidate)) || isAddress && isFirst {
        (name, self.end) = (candidate, end)
        return
      }
    }
    guard isFirst else { return nil }
    // It is not there, but it was meant: the error names it.
    if isPath, let end = ends.first(where: { PictureName.endsLikePicture(String(text[..<$0])) }) {
      (name, self.end) = (String(text[..<end]), end)
    } else if isPath, word.text.dropFirst().contains("/") {
      (name, self.end) = (word.text, word.end)
    } else if isCertain {
      let isWhole = !word.isQuoted
      (name, self.end) = (isWhole ? String(text) : word.text, isWhole ? text.endIndex : word.end)
    } else {
      return nil
    }
  }

  private static func isFile(_ name: String) -> Bool {
    var isFolder: ObjCBool = false
    guard let file = PictureName.file(name) else { return false }
    return FileManager.default.fileExists(atPath: file, isDirectory: &isFolder) && !isFolder.boolValue
  }

  /// Where the words of the first line end, up to a length that paths do not exceed.
  private static func ends(of text: Substring) -> [Substring.Index] {
    let line = text.prefix { !$0.isNewline }.prefix(1024)
    var ends = line.indices.filter { $0 > line.startIndex && line[$0].isWhitespace }
    if line.last?.isWhitespace == false { ends.append(line.endIndex) }
    return Array(ends.prefix(64))
  }
}

/// The first word of a text as a shell reads it: in quotes, or with backslashes before what is special. A quote inside a
/// word is an apostrophe.
struct ShellWord {
  let text: String
  let end: Substring.Index
  let isQuoted: Bool
  /// The word as it stands.
  private let raw: Substring

  init(_ source: Substring) {
    if let (text, end) = Self.quoted(source) {
      (self.text, self.end, isQuoted) = (text, end, true)
    } else {
      (text, end, isQuoted) = Self.plain(source)
    }
    raw = source[..<end]
  }

  /// What the word may name, the likeliest first: a sentence goes on after it with a comma or a full stop.
  var readings: [(String, Substring.Index)] {
    var readings = [(text, end)]
    if String(raw) != text { readings.append((String(raw), end)) }
    let marks = raw.reversed().prefix { ".,;:!?)。，？！".contains($0) }.count
    if marks > 0, marks < text.count {
      readings.append((String(text.dropLast(marks)), raw.index(end, offsetBy: -marks)))
    }
    return readings
  }

  private static func plain(_ source: Substring) -> (String, Substring.Index, Bool) {
    var (text, rest, isQuoted) = ("", source, false)
    while let next = rest.first, !next.isWhitespace {
      rest.removeFirst()
      if next == "\\", let special = rest.first {
        text.append(special)
        rest.removeFirst()
        isQuoted = true
      } else {
        text.append(next)
      }
    }
    return (text, rest.startIndex, isQuoted)
  }

  private static func quoted(_ source: Substring) -> (String, Substring.Index)? {
    guard let first = source.first, first == "'" || first == "\"" else { return nil }
    var (text, rest) = ("", source)
    while let next = rest.first, !next.isWhitespace {
      rest.removeFirst()
      switch next {
      case "'":
        guard let end = rest.firstIndex(of: "'") else { return nil }
        text += rest[..<end]
        rest = rest[rest.index(after: end)...]
      case "\"":
        while let inner = rest.first, inner != "\"" {
          rest.removeFirst()
          if inner == "\\", let special = rest.first, "\"\\$`".contains(special) {
            text.append(special)
            rest.removeFirst()
          } else {
            text.append(inner)
          }
        }
        guard rest.popFirst() != nil else { return nil }
      case "\\":
        if let special = rest.popFirst() { text.append(special) }
      default: text.append(next)
      }
    }
    return (text, rest.startIndex)
  }
}
