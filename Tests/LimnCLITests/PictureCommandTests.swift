import Foundation
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let formats = fixtures + "/Formats"
private let model = fixtures + "/Models/checkpoints/llama-mha"

@Suite struct PictureCommandTests {
  @Test("an animation says so once on standard error, and the answer stands alone on standard output")
  func animation() throws {
    let picture = formats + "/animated.gif"
    let outcome = try limn("ask", picture, "Which?", "--model", model, "--max-tokens", "2", "--json")
    #expect(outcome.code == 0 && outcome.out.hasPrefix("{"))
    #expect(outcome.err == "limn: \(picture): it is an animation; its first picture is used\n")
    let conversation = try limn(
      "chat", picture, "--model", model, "--max-tokens", "2",
      input: Array("Which?\nWhat?\n/image \(picture)\nAnd?\n".utf8))
    #expect(conversation.code == 0)
    #expect(conversation.errorLines.filter { $0.contains("animation") }.count == 1)
  }

  @Test("--background puts a transparent picture on a colour, in every command that looks at pictures")
  func background() throws {
    let picture = formats + "/mostly-hidden.png"
    func pixels(_ options: String...) throws -> (Data, Outcome) {
      let output = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).npy")
      defer { try? FileManager.default.removeItem(at: output) }
      let outcome = try limn(
        ["debug", "preprocess", "--image", picture, "--output", output.path, "--model", model] + options)
      return (try Data(contentsOf: output), outcome)
    }
    let (hidden, warned) = try pixels()
    let (white, silent) = try pixels("--background", "white")
    let (sameWhite, _) = try pixels("--background", "#FFFFFF")
    #expect(hidden != white && white == sameWhite)
    #expect(warned.err.contains("is transparent") && warned.err.contains("--background white") && silent.err.isEmpty)
    let plain = try limn("ask", picture, "Which?", "--model", model, "--max-tokens", "1")
    #expect(plain.errorLines.count == 1 && plain.err.contains("--background white"))
    let onBlack = try limn("ask", picture, "Which?", "--model", model, "--max-tokens", "1", "--background", "black")
    #expect(onBlack.code == 0 && onBlack.err.isEmpty)
    #expect(try limn("ask", picture, "Which?", "--background", "blue").code == 2)
  }

  @Test("a picture that lacks pixels is refused, and --accept-damaged looks at it with a warning")
  func damaged() throws {
    let picture = fixtures + "/Images/cut-half.jpg"
    let refused = try limn("ask", picture, "Which?", "--model", model, "--max-tokens", "1")
    #expect(refused.code == 65 && refused.out.isEmpty && refused.err.contains("--accept-damaged"))
    let accepted = try limn("ask", picture, "Which?", "--model", model, "--max-tokens", "1", "--accept-damaged")
    #expect(accepted.code == 0 && accepted.errorLines.count == 1 && accepted.err.contains("missing or wrong"))
  }

  @Test("--timeout is a time")
  func timeout() throws {
    for time in ["0", "-1", "soon", "nan"] {
      #expect(try limn("ask", "a.png", "Which?", "--timeout=\(time)").code == 2, "\(time)")
    }
  }
}
