import Foundation
import LimnCore
import LimnImage

/// The words of `limn ask`, sorted into pictures and the question: the question may stand before, between or after the
/// pictures, or come through standard input.
struct Asked {
  var pictures: [String]
  var question: String
  /// What standard input held, if it is one of the pictures.
  private var input: [UInt8]?

  /// - Parameters:
  ///   - operands: pictures, and the question at any place.
  ///   - images: further pictures.
  /// - Throws: `usage` without a question. Reads standard input only if the question can only be there.
  init(_ operands: [String], images: [String]) throws(LimnError) {
    pictures = operands + images
    question = ""
    guard pictures.count(where: { $0 == "-" }) <= 1 else {
      throw LimnError(.usage, "standard input was named twice", remedy: "name - once")
    }
    if let place = operands.lastIndex(where: { !PictureName.isPicture($0) }) {
      question = pictures.remove(at: place)
    } else if let text = try readQuestion() {
      question = text
    }
    guard question.contains(where: { !$0.isWhitespace }) else { throw missingQuestion() }
  }

  /// The images, in the order of the words.
  func sources(_ arguments: PictureArguments) async throws(LimnError) -> [ImageSource] {
    var sources: [ImageSource] = []
    for word in pictures {
      if word == "-", let input {
        sources.append(.data(input, name: "standard input"))
        continue
      }
      let source = try await arguments.source(word)
      // Its file is read after the model is opened; but that a word names none is known now.
      if case .path(let path) = source, !FileManager.default.fileExists(atPath: path) { throw Self.missing(word, path) }
      sources.append(source)
    }
    return sources
  }

  private static func missing(_ word: String, _ path: String) -> LimnError {
    let advice =
      !PictureName.isPicture(word)
      ? "; a question of several words goes in quotes"
      : word.contains(where: \.isWhitespace) ? "; if it is the question, end it with a question mark" : ""
    return LimnError(
      .notFound, code: .imageNotFound, "no such file", in: path, remedy: LimnError.Text("check the path" + advice))
  }

  /// The question in standard input. With `-`, its contents decide whether it is the question or a picture.
  private mutating func readQuestion() throws(LimnError) -> String? {
    let named = pictures.firstIndex(of: "-")
    guard named != nil || isatty(STDIN_FILENO) == 0 else { return nil }
    let bytes = try ImageSource.readAll(STDIN_FILENO, size: 0, name: "standard input")
    if let text = Self.text(bytes) {
      if let named, text.contains(where: { !$0.isWhitespace }) { pictures.remove(at: named) }
      return text
    }
    guard named != nil else {
      throw LimnError(
        .usage, "a picture, where the question was expected", in: "standard input",
        remedy: "name it as -, and add the question")
    }
    input = bytes
    return nil
  }

  /// The text in these bytes; nil for a picture, also for one that is written as text.
  private static func text(_ bytes: [UInt8]) -> String? {
    guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else { return nil }
    let start = text.prefix(256).trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
    guard !["<svg", "<?xml", "<!doctype", "<html"].contains(where: { start.hasPrefix($0) }) else { return nil }
    return text.trimmingCharacters(in: .newlines)
  }

  private func missingQuestion() -> LimnError {
    guard let picture = pictures.last else {
      return LimnError(.usage, "A question is missing", remedy: "limn ask <image> \"What is this?\"")
    }
    let words = pictures.count > 1 ? pictures.joined(separator: " ") : picture
    return LimnError(
      .usage, "A question is missing after the picture", remedy: "limn ask \(words) \"What is this?\"")
  }
}
