import Foundation
import LimnTesting
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let tinyModel = fixtures + "/Models/checkpoints/llama-mha"
private let tinyPicture = fixtures + "/Models/cases/llama-mha/image1.png"

@Suite("Which word is the question") struct AskWordsTests {
  private let options = ["--model", tinyModel, "--max-tokens", "6", "--compute", "exact"]

  private func ask(_ words: [String], input: String = "") throws -> Outcome {
    try limn(["ask"] + options + words, input: Array(input.utf8))
  }

  @Test("the question may stand first, between or last, or come through a pipe")
  func places() throws {
    let expected = try ask([tinyPicture, "where is it?"])
    #expect(expected.code == 0 && !expected.out.isEmpty, "\(expected.err)")
    for words in [["where is it?", tinyPicture], ["where is it?", "--image", tinyPicture]] {
      #expect(try ask(words).out == expected.out, "\(words)")
    }
    let two = try ask([tinyPicture, tinyPicture, "where is it?"])
    #expect(try ask([tinyPicture, "where is it?", tinyPicture]).out == two.out)
    for words in [[tinyPicture], [tinyPicture, "-"], ["-", tinyPicture], ["--image", tinyPicture]] {
      #expect(try ask(words, input: "where is it?\n").out == expected.out, "\(words)")
    }
  }

  @Test("what begins with a dash and holds a space is text, also as an option's value")
  func dashes() throws {
    let expected = try limn(["ask"] + options + [tinyPicture, "--", "- where is it?"])
    #expect(expected.code == 0, "\(expected.err)")
    #expect(try ask([tinyPicture, "- where is it?"]).out == expected.out)
    #expect(try ask(["- where is it?", tinyPicture]).out == expected.out)
    #expect(try ask(["--where is it?"]).code == 0)
    let system = try ask([tinyPicture, "hello", "--system", "- be brief", "--stop", "- no"])
    #expect(system.code == 0, "\(system.err)")
    #expect(try ask([tinyPicture, "hello", "-x"]).code == 2)
  }

  @Test(
    "what looks like a picture or a path is never asked as the question",
    arguments: [
      "photo.heic", "PHOTO.GIF", "a.tiff", "my photo.avif", "a.bmp ", "what is in photo.jpg", "/nowhere/photo",
      "./photo", "../photo", "~/photo", "file:/nowhere/a", "https://127.0.0.1:1/a?b.c", "ftp://nowhere/a",
      "data:image/png;base64,%", "video.mp4", "scan.pdf", fixtures + "/Models",
    ])
  func neverTheQuestion(_ word: String) throws {
    let alone = try limn("ask", word)
    #expect(alone.code == 2 && alone.out.isEmpty && alone.err.contains("question"), "\(alone.err)")
    let asked = try ask([word, "hello"])
    #expect([65, 66, 69].contains(asked.code) && asked.out.isEmpty && asked.errorLines.count == 1, "\(asked.err)")
  }

  @Test("two pictures, an empty question, or a picture in the question's pipe ask nothing")
  func noQuestion() throws {
    for words in [[tinyPicture, tinyPicture], [tinyPicture, ""], [tinyPicture, " "], ["-", "-", "hello"]] {
      let outcome = try ask(words)
      #expect(outcome.code == 2 && outcome.out.isEmpty && outcome.errorLines.count == 1, "\(outcome.err)")
    }
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    for words in [[tinyPicture], [tinyPicture, "-"], ["-"]] {
      let outcome = try limn(["ask"] + options + words, input: png)
      #expect(outcome.code == 2 && outcome.out.isEmpty, "\(words): \(outcome.err)")
    }
  }

  @Test("a picture in a pipe that nobody named is pointed out")
  func unnamedPicture() throws {
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    #expect(try limn(["ask"] + options + ["hello"], input: png).err.contains("name it as -"))
    #expect(try limn(["ask"] + options + ["-", "hello"], input: png).err.isEmpty)
    #expect(try ask(["hello"]).err.isEmpty)
  }

  @Test("a question that nobody quoted ends with 66 and tells about quotes")
  func unquoted() throws {
    let outcome = try ask([tinyPicture, "where", "is", "it?"])
    #expect(outcome.code == 66 && outcome.out.isEmpty && outcome.err.contains("where: no such file"))
    #expect(outcome.err.contains("quotes"))
  }

  @Test("a home folder's ~ and file: URLs name pictures")
  func spellings() throws {
    let folder = try TemporaryFolder()
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    let path = try folder.write("a b.png", png)
    let expected = try ask([tinyPicture, "hello"]).out
    let escaped = path.replacingOccurrences(of: " ", with: "%20")
    for word in ["~/a b.png", "file://" + escaped, "file://localhost" + escaped, "FILE:" + escaped] {
      let outcome = try limn(["ask"] + options + [word, "hello"], environment: ["HOME": folder.path])
      #expect(outcome.code == 0 && outcome.out == expected, "\(word): \(outcome.err)")
    }
  }

  @Test("JSON has the text without the space that the model begins with; a stream of it has the pieces first")
  func json() throws {
    let words = [tinyPicture, "hello"]
    let whole = try JSONDecoder().decode(Text.self, from: Data(try ask(words + ["--json"]).out.utf8))
    let outcome = try ask(words + ["--json-stream"])
    let lines = outcome.out.split(separator: "\n").map { Data($0.utf8) }
    let pieces = try lines.dropLast().map { try JSONDecoder().decode(Token.self, from: $0).token }
    let last = try JSONDecoder().decode(Text.self, from: try #require(lines.last))
    #expect(pieces.joined() == whole.text && last.text == whole.text && whole.text.first?.isWhitespace == false)
    #expect(pieces.count > 1)
    #expect(try ask(words + ["--json", "--json-stream"]).code == 2)
  }

  private struct Token: Decodable { let token: String }
  private struct Text: Decodable { let text: String }

  @Test(
    "words that are no command lead to the right one",
    arguments: [
      (["photo.jpg", "What is this?"], "limn ask photo.jpg \"What is this?\""),
      (["photo.jpg"], "limn ask photo.jpg \"What is this?\""), (["What is this?", "a.png"], "limn ask"),
      (["run", "photo.jpg", "why?"], "limn ask photo.jpg"), (["run"], "limn chat"),
      (["run", "llava"], "limn chat --model llava"), (["version"], "limn --version"),
      (["describe", "photo.jpg"], "limn ask photo.jpg \"Describe this picture.\""), (["chta"], "limn chat"),
      (["tokenize", "x"], "limn debug tokenize x"), (["wibble"], "limn --help"),
    ])
  func lead(_ words: [String], _ command: String) throws {
    let outcome = try limn(words)
    #expect(outcome.code == 2 && outcome.out.isEmpty && outcome.errorLines.count == 1)
    #expect(outcome.err.contains(command), "\(outcome.err)")
  }

  @Test("short options mean what the long ones mean, and help shows groups, exit codes and the environment")
  func help() throws {
    let long = try limn(
      "ask", "hello", "--image", tinyPicture, "--model", tinyModel, "--max-tokens", "3", "--system", "x")
    let short = try limn("ask", "hello", "-i", tinyPicture, "-m", tinyModel, "-n", "3", "-s", "x", "-t", "0", "-q")
    #expect(long.code == 0 && short.code == 0 && long.out == short.out, "\(long.err)\(short.err)")
    let root = try limn("--help").out
    for words in ["LIMN_MODEL", "NO_COLOR", "130", "--generate-completion-script", "man limn"] {
      #expect(root.contains(words), "\(words)")
    }
    let ask = try limn("ask", "--help").out
    for words in ["MODEL OPTIONS:", "ANSWER OPTIONS:", "SAMPLING OPTIONS:", "-t, --temperature"] {
      #expect(ask.contains(words), "\(words)")
    }
  }

  @Test("--quiet leaves out the note about the demo model")
  func quiet() throws {
    #expect(try limn("ask", "hello", "-n", "2").err.contains("demo model"))
    #expect(try limn("ask", "hello", "-n", "2", "--quiet").err.isEmpty)
  }
}
