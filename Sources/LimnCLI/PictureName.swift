import Foundation
import LimnCore
import LimnHub
import LimnImage

/// Decides which words name pictures: the one rule by which `ask` and `chat` tell pictures from questions.
///
/// Whatever could be meant as a picture is one, or an error; it is never silently asked as a question, which a model
/// would answer with confidence.
enum PictureName {
  /// Whether a whole argument names a picture.
  static func isPicture(_ word: String) -> Bool {
    word == "-" || file(word) != nil || endsLikePicture(word) || isAddress(word)
      || isPath(word) && !word.contains(where: \.isWhitespace)
  }

  /// The image that a word names; reads standard input, and fetches a URL.
  /// - Parameter timeout: how long to wait for a server that sends nothing.
  static func source(_ word: String, timeout: Duration = .seconds(30)) async throws(LimnError) -> ImageSource {
    try await ImageReference(plain(word)).source(timeout: timeout)
  }

  /// The word without ~ and `file:`.
  static func plain(_ word: String) -> String { file(word) ?? path(ofFileURL: word) ?? word }

  /// The existing file or folder that a word names: as it stands, with ~ for the home folder, or as a `file:` URL.
  static func file(_ word: String) -> String? {
    [word, expandingHome(word), path(ofFileURL: word)].compactMap(\.self).first {
      !$0.isEmpty && FileManager.default.fileExists(atPath: $0)
    }
  }

  static func expandingHome(_ word: String) -> String? {
    guard word == "~" || word.hasPrefix("~/") else { return nil }
    let home = ProcessInfo.processInfo.environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
    return (home ?? NSHomeDirectory()) + word.dropFirst()
  }

  /// The path in `file:///a%20b`, `file://localhost/a` or `file:/a`.
  private static func path(ofFileURL word: String) -> String? {
    guard word.prefix(5).lowercased() == "file:" else { return nil }
    var rest = word.dropFirst(5)
    if rest.hasPrefix("//") { rest = rest.dropFirst(2).drop { $0 != "/" } }
    return rest.hasPrefix("/") ? rest.removingPercentEncoding ?? String(rest) : nil
  }

  /// Whether a word begins as paths do, rather than as names or sentences.
  static func isPath(_ word: String) -> Bool {
    ["/", "./", "../", "~/", "file:/"].contains { word.lowercased().hasPrefix($0) }
  }

  /// Whether a word is a URL. A question may begin like one, but has spaces or letters of other scripts too.
  static func isAddress(_ word: String) -> Bool {
    guard word.allSatisfy({ $0.isASCII && !$0.isWhitespace }) else { return false }
    return word.lowercased().hasPrefix("data:") || word.firstMatch(of: /^[A-Za-z][A-Za-z0-9+.\-]*:\/\//) != nil
  }

  /// Whether a text ends with the extension of a picture, or of what people take for one. A query after it is no part
  /// of a URL's name.
  static func endsLikePicture(_ text: String) -> Bool {
    guard text.utf8.contains(UInt8(ascii: ".")) else { return false }
    var name = text.trimmingCharacters(in: .whitespacesAndNewlines)[...]
    if isAddress(text) { name = name.prefix { $0 != "?" && $0 != "#" } }
    guard let dot = name.lastIndex(of: "."), dot > name.startIndex, !name[name.index(before: dot)].isWhitespace else {
      return false
    }
    return extensions.contains(name[name.index(after: dot)...].lowercased())
  }

  private static let extensions: Set<String> = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "webp", "gif", "bmp", "dib", "tif", "tiff", "heic", "heif",
    "hif", "avif", "avifs", "svg", "svgz", "ico", "icns", "jxl", "jp2", "j2k", "jpx", "qoi", "tga", "exr", "hdr", "dds",
    "ppm", "pgm", "pbm", "pnm", "pam", "psd", "xcf", "pdf", "dng", "raw", "cr2", "cr3", "nef", "arw", "orf", "raf",
    "rw2", "mp4", "mov", "m4v", "avi", "mkv", "webm",
  ]
}
