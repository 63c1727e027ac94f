import Foundation
import LimnTesting
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let tinyModel = fixtures + "/Models/checkpoints/llama-mha"
private let tinyPicture = fixtures + "/Models/cases/llama-mha/image1.png"

@Suite("Conversations") struct ChatTests {
  private let folder: TemporaryFolder
  private let arguments = ["chat", "--model", tinyModel, "--max-tokens", "2"]

  init() throws {
    folder = try TemporaryFolder()
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    try FileManager.default.createDirectory(atPath: folder.path + "/my pics", withIntermediateDirectories: true)
    for name in ["a.png", "b.png", "my pics/it's one.png"] { _ = try folder.write(name, png) }
  }

  private struct Message: Decodable {
    struct Part: Decodable {
      let image: String?
      let text: String?
    }
    let role: String
    let content: [Part]
  }

  private func chat(_ lines: [String], arguments more: [String] = []) throws -> Outcome {
    try limn(
      arguments + more, input: Array((lines.joined(separator: "\n") + "\n").utf8),
      environment: ["HOME": folder.path], directory: folder.path)
  }

  /// What the user's messages hold after these lines: names of pictures, and text.
  private func said(_ lines: [String]) throws -> [[String]] {
    let outcome = try chat(lines + ["/save said.json"])
    #expect(outcome.code == 0, "\(lines): \(outcome.err)")
    return try saved("said.json")
  }

  private func saved(_ file: String) throws -> [[String]] {
    let data = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + file))
    return try JSONDecoder().decode([Message].self, from: data).filter { $0.role == "user" }
      .map { $0.content.map { $0.text ?? ($0.image! as NSString).lastPathComponent } }
  }

  @Test("paths as terminals write them are pictures, before, after and inside a question")
  func droppedPaths() throws {
    let (quoted, name) = ("'\(folder.path)/my pics/it'\\''s one.png'", "it's one.png")
    let escaped = folder.path + #"/my\ pics/it\'s\ one.png"#
    let url = "file://\(folder.path)/my%20pics/it's%20one.png"
    for (line, expected) in [
      ("/image my pics/it's one.png", [name]), ("/image \"my pics/it's one.png\"", [name]),
      ("/image \(quoted)", [name]), ("/image \(escaped)", [name]), ("/image ~/my pics/it's one.png", [name]),
      ("/image \(url)", [name]), ("/image a.png b.png", ["a.png", "b.png"]), (quoted, [name]), (escaped, [name]),
      ("\(folder.path)/my pics/it's one.png", [name]), (url, [name]), ("a.png b.png", ["a.png", "b.png"]),
    ] {
      #expect(try said([line, "hello"]) == [expected + ["hello"]], "\(line)")
    }
    for (line, expected) in [
      ("\(quoted) Isn't it 'nice'?", [name, "Isn't it 'nice'?"]),
      ("\(folder.path)/my pics/it's one.png What is it?", [name, "What is it?"]),
      ("What is it? \(escaped)", [name, "What is it?"]), ("/image a.png What is it?", ["a.png", "What is it?"]),
      ("Compare a.png with \(quoted), please.", ["a.png", name, "Compare a.png with it's one.png, please."]),
      ("a.png b.png What has changed?", ["a.png", "b.png", "What has changed?"]),
      ("Is photo.png a good name?", ["Is photo.png a good name?"]), ("It's 3/4 of \"it\"", ["It's 3/4 of \"it\""]),
      ("\"\"\"/nowhere/a.png\nis a path\"\"\"", ["/nowhere/a.png\nis a path"]),
    ] {
      #expect(try said([line]) == [expected], "\(line)")
    }
  }

  @Test(
    "a path that leads nowhere ends a script with 66 and is not asked",
    arguments: [
      "/image nowhere.png", "/nowhere/my pics/a.png What is it?", "'/nowhere/my pics/a.png' What is it?",
      "/nowhere/photo What is it?", "gone.heic", "What is in '/nowhere/a b.jpg'?", "file:///nowhere/a.png hello",
    ])
  func missing(_ line: String) throws {
    let outcome = try chat([line], arguments: [tinyPicture])
    #expect(outcome.code == 66 && outcome.out.isEmpty && outcome.err.contains("no such file"), "\(outcome.err)")
  }

  @Test("commands change the conversation, and a saved one goes on")
  func commands() throws {
    var outcome = try chat([
      "/system Be brief.", "a.png hello", "/images", "/context", "/set max-tokens 1", "/set", "/set top_p 0.5",
      "/set top-p", "/model", "/save one.json", "/new", "/images", "/load one.json", "/system", "and now?",
      "/save two.json", "/model \(tinyModel)", "/regenerate", "/stats", "/help",
    ])
    #expect(outcome.code == 0, "\(outcome.err)")
    for words in [
      "1  a.png", "tokens of context", "max-tokens 1\n", "top-p 0.5\n", "llama-mha\n", "no picture", "Be brief.\n",
      "llama-mha answers from now on", "/regenerate",
    ] { #expect(outcome.err.contains(words), "\(words) in \(outcome.err)") }
    #expect(try saved("two.json") == [["a.png", "hello"], ["and now?"]])
    for line in ["/set warmth 1", "/set temperature warm", "/load gone.json", "/save /nowhere/a.json"] {
      outcome = try chat([line])
      #expect([2, 66, 69].contains(outcome.code) && outcome.errorLines.count == 1, "\(line): \(outcome.err)")
    }
  }

  @Test("in a terminal, lines are edited, wide letters included; Ctrl-C drops one, and a paste is one question")
  func editing() throws {
    let environment = ["XDG_STATE_HOME": folder.path, "HOME": folder.path]
    let terminal = try PseudoTerminal(arguments, environment: environment)
    #expect(terminal.shows("> "))
    terminal.type("wrong\u{3}")
    #expect(terminal.shows("> ", times: 2))
    terminal.type("日本語\u{1B}[D\u{7F}\r")
    #expect(terminal.shows("of context"))
    terminal.type("\u{1B}[200~one\rtwo\r\u{1B}[201~ three\r")
    #expect(terminal.shows("of context", times: 2))
    terminal.type("/save \(folder.path)/typed.json\r")
    #expect(terminal.shows("saved to"))
    #expect(try saved("typed.json") == [["日語"], ["one\ntwo three"]])
    terminal.type("\u{4}")
    #expect(terminal.code() == 0)

    // The next session knows the lines of this one.
    let again = try PseudoTerminal(arguments, environment: environment)
    #expect(again.shows("> "))
    again.type("\u{1B}[A\u{1B}[A\u{1B}[A\r")
    #expect(again.shows("of context"))
    again.type("/save \(folder.path)/again.json\r")
    #expect(again.shows("saved to"))
    #expect(try saved("again.json") == [["日語"]])
    let permissions = try FileManager.default.attributesOfItem(atPath: folder.path + "/limn/chat-history")
    #expect(permissions[.posixPermissions] as? Int == 0o600)
  }

  #if os(Linux)
    @Test("without libedit, a terminal's own way of typing lines remains")
    func withoutLibedit() throws {
      // Broken libraries shadow the system's own.
      for name in ["libedit.so.2", "libedit.so.0"] { _ = try folder.write(name, [1]) }
      let paths = [folder.path, ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]].compactMap { $0 }
      let terminal = try PseudoTerminal(
        arguments, environment: ["LD_LIBRARY_PATH": paths.joined(separator: ":"), "HOME": folder.path])
      #expect(terminal.shows("> "))
      terminal.type("helo\u{7F}lo\n")
      #expect(terminal.shows("of context"))
      terminal.type("/save \(folder.path)/plain.json\n")
      #expect(terminal.shows("saved to"))
      #expect(try saved("plain.json") == [["hello"]])
      #expect(!terminal.text.contains("\u{1B}[?2004h"))
      terminal.type("\u{4}")
      #expect(terminal.code() == 0)
    }
  #endif

  @Test("notes are dimmed in a terminal, and an empty NO_COLOR counts as unset")
  func colours() throws {
    for (value, dims) in [("", true), ("1", false)] {
      let terminal = try PseudoTerminal(["ask", "hello", "-n", "2"], environment: ["NO_COLOR": value])
      #expect(terminal.code() == 0 && terminal.shows("demo model"))
      #expect(terminal.text.contains("\u{1B}[2m") == dims)
    }
  }
}
