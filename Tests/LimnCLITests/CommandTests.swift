import Foundation
import LimnTesting
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let tinyModel = fixtures + "/Models/checkpoints/llama-mha"
private let tinyPicture = fixtures + "/Models/cases/llama-mha/image1.png"

@Suite struct CommandTests {
  @Test("without arguments, limn lists its commands")
  func noArguments() throws {
    let outcome = try limn()
    #expect(outcome.code == 0)
    #expect(outcome.out.contains("ask") && outcome.out.contains("chat"))
  }

  @Test("--version names the version, and the commit where the build knew it")
  func version() throws {
    let outcome = try limn("--version")
    #expect(outcome.code == 0)
    let commit = /limn [0-9]+\.[0-9]+\.[0-9]+( \([0-9a-f]{7,}(-dirty)?\))?\n/
    #expect(outcome.out.wholeMatch(of: commit) != nil, "\(outcome.out)")
  }

  @Test(
    "wrong usage ends with 2 and says what is wrong",
    arguments: [
      ["aks", "x"], ["ask"], ["ask", "x", "--max-tokens", "0"], ["ask", "x", "--context", "0"],
      ["bench", "--compute", "half"], ["show", "--threads", "0"],
      ["quantize", "x", "--to", "Q8_0", "--output", "y", "--threads", "0"], ["ask", "x", "--temperature", "warm"],
      ["ask", "x", "--preprocess", "fold"], ["debug", "logits", "--output", "x.npy"],
      ["ask", "x", "--top-p", "2"],
      ["ask", "x", "--template", "nonsense"], ["ask", "x", "--raw-prompt", "--system", "y"],
      ["show", "x", "--model", "y"], ["debug", "detokenize", "a,b"],
      ["bench", "--gen-tokens", "1"], ["bench", "--parallel", "0"], ["bench", "--depth", "-1"],
    ])
  func usage(_ arguments: [String]) throws {
    let outcome = try limn(arguments)
    #expect(outcome.code == 2)
    #expect(!outcome.err.isEmpty && outcome.out.isEmpty)
  }

  @Test(
    "a picture without a question ends with 2 and says how to ask, wherever the picture is",
    arguments: [
      tinyPicture, "nowhere.JPG", "-", "https://example.org/a", "data:image/png;base64,aGVsbG8=", "file:///nowhere/a",
    ])
  func forgottenQuestion(_ picture: String) throws {
    let outcome = try limn("ask", picture, "--model", "/nowhere/model")
    #expect(outcome.code == 2 && outcome.out.isEmpty)
    #expect(outcome.err.contains("limn ask \(picture) \"What is this?\""))
  }

  @Test(
    "a question that begins like a picture's address is a question",
    arguments: ["data: 3, 5, 8. What comes next?", "https://example.org/a.jpg is what?", "- or +?"])
  func questionLikeAddress(_ question: String) throws {
    #expect(try limn("ask", "--model", "/nowhere/model", "--", question).code == 66)
  }

  @Test("a non-blocking standard output that is full delays the output but loses nothing")
  func nonBlockingOutput() throws {
    let pipe = Pipe()
    let output = pipe.fileHandleForWriting.fileDescriptor
    #expect(fcntl(output, F_SETFL, O_NONBLOCK) == 0)
    let block = [UInt8](repeating: 0, count: 4096)
    var filled = 0
    while case let written = write(output, block, block.count), written > 0 { filled += written }
    let process = Process()
    process.executableURL = products.appendingPathComponent("limn")
    process.arguments = ["--help"]
    process.standardOutput = pipe
    try process.run()
    // Give it time to reach the first write, for which there is no room.
    for _ in 0..<20 where process.isRunning { usleep(50_000) }
    let bytes = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    let help = try limn("--help").out
    #expect(!help.isEmpty && String(decoding: bytes.dropFirst(filled), as: UTF8.self) == help)
  }

  @Test("a missing model or picture ends with 66 and one line")
  func missing() throws {
    for arguments in [
      ["ask", "hello", "--model", "/nowhere/model"],
      ["ask", "/nowhere/a.png", "hello", "--model", tinyModel],
    ] {
      let outcome = try limn(arguments)
      #expect(outcome.code == 66)
      #expect(outcome.errorLines.count == 1 && outcome.err.contains("/nowhere"))
      #expect(outcome.out.isEmpty)
    }
  }

  #if os(Linux)
    @Test("without libcurl, local pictures work, and one by URL ends with 69 and says what to install")
    func withoutLibcurl() throws {
      // Broken libraries shadow the system's own.
      let folder = try TemporaryFolder()
      for name in ["libcurl.so.4", "libcurl-gnutls.so.4"] { _ = try folder.write(name, [1]) }
      let paths = [folder.path, ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]].compactMap { $0 }
      let environment = ["LD_LIBRARY_PATH": paths.joined(separator: ":")]
      let here = try limn(
        ["ask", tinyPicture, "hello", "--model", tinyModel, "--max-tokens", "1"], environment: environment)
      #expect(here.code == 0, "\(here.err)")
      let fetched = try limn(
        ["ask", "http://127.0.0.1:1/a.png", "hello", "--model", tinyModel], environment: environment)
      #expect(fetched.code == 69 && fetched.errorLines.count == 1 && fetched.out.isEmpty)
      #expect(fetched.err.contains("fetching needs libcurl") && fetched.err.contains("apt-get install libcurl4"))
    }
  #endif

  @Test("a file that is not a picture, or is cut off, ends with 65 and one line")
  func badPictures() throws {
    let folder = try TemporaryFolder()
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    for (name, content) in [
      ("text.jpg", Array("not a picture at all".utf8)), ("empty.png", []),
      ("cut.png", Array(png.dropLast(40))),
    ] {
      let file = try folder.write(name, content)
      let outcome = try limn("ask", file, "hello", "--model", tinyModel, "--max-tokens", "1")
      #expect(outcome.code == 65, "\(name): \(outcome.err)")
      #expect(outcome.errorLines.count == 1 && outcome.err.contains(name))
      #expect(outcome.out.isEmpty)
    }
  }

  @Test("a file that is not a model ends with 65 and one line")
  func badModels() throws {
    let folder = try TemporaryFolder()
    let gguf = try folder.write("broken.gguf", Array("GGUF\u{3}".utf8))
    let outcome = try limn("ask", "hello", "--model", gguf)
    #expect(outcome.code == 65)
    #expect(outcome.errorLines.count == 1 && outcome.err.contains("broken.gguf"))
  }

  @Test("an answer as JSON has the text, the reason it ended, and the figures")
  func json() throws {
    let outcome = try limn("ask", tinyPicture, "hello", "--model", tinyModel, "--max-tokens", "4", "--json")
    #expect(outcome.code == 0, "\(outcome.err)")
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any])
    #expect(object["text"] is String && object["model"] is String)
    let usage = try #require(object["usage"] as? [String: Int])
    #expect(usage["completion_tokens"]! <= 4 && usage["image_tokens"]! > 0)
    #expect(usage["prompt_tokens"]! > usage["image_tokens"]!)
    let timings = try #require(object["timings"] as? [String: Double])
    for key in [
      "load_ms", "image_encode_ms", "prompt_ms", "first_token_ms", "predicted_ms", "prompt_per_second",
      "predicted_per_second",
    ] { #expect(timings[key] != nil) }
  }

  @Test("guessing ahead and reuse can be switched off, and the answer is the same")
  func switches() throws {
    let options = ["--model", tinyModel, "--max-tokens", "60", "--raw-prompt", "--json"]
    func answer(_ more: String...) throws -> [String: Any] {
      let outcome = try limn(["ask", "house house house house"] + options + more)
      #expect(outcome.code == 0, "\(outcome.err)")
      return try #require(try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any])
    }
    let (plain, off) = (try answer(), try answer("--no-speculation", "--no-cache"))
    #expect(plain["text"] as? String == off["text"] as? String)
    let guessed = try #require((off["timings"] as? [String: Any])?["guessed_tokens"] as? Int)
    #expect(guessed == 0)
    #expect((plain["timings"] as? [String: Any])?["guessed_tokens"] is Int)
  }

  @Test("a picture from standard input, a data URL or a file gives the same answer")
  func pictureSources() throws {
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    let options = ["--model", tinyModel, "--max-tokens", "4", "--compute", "exact"]
    let file = try limn(["ask", tinyPicture, "hello"] + options)
    let standardInput = try limn(["ask", "-", "hello"] + options, input: png)
    let url = "data:image/png;base64," + Data(png).base64EncodedString()
    let data = try limn(["ask", "hello", "--image", url] + options)
    #expect(file.code == 0 && !file.out.isEmpty)
    #expect(standardInput.out == file.out && data.out == file.out)
  }

  @Test("<image> marks in a question place its pictures if there are as many, and are text otherwise")
  func places() throws {
    let options = ["--model", tinyModel, "--max-tokens", "2", "--json"]
    func imageTokens(_ arguments: String...) throws -> Int {
      let outcome = try limn(["ask"] + arguments + options)
      #expect(outcome.code == 0, "\(outcome.err)")
      let object = try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any]
      return try #require((object?["usage"] as? [String: Int])?["image_tokens"])
    }
    let one = try imageTokens(tinyPicture, "hello")
    #expect(try imageTokens("Say <image>") == 0)
    #expect(try imageTokens(tinyPicture, "Say <image> and <image>") == one)
    #expect(try imageTokens(tinyPicture, tinyPicture, "Compare <image> with <image>") == 2 * one)
    let raw = try limn(["ask", "Say <image>", "--raw-prompt"] + options)
    #expect(raw.code == 2 && raw.errorLines.count == 1)
  }

  @Test("a prompt that does not fit the context is refused, and the error gives both lengths")
  func overflow() throws {
    let text = String(repeating: "hello world ", count: 40)
    let arguments = ["ask", text, "--model", tinyModel, "--context", "32", "--max-tokens", "2"]
    let refused = try limn(arguments)
    #expect(refused.code == 65 && refused.errorLines.count == 1)
    #expect(refused.err.contains("32") && refused.err.contains("truncate-middle"))
    let cut = try limn(arguments + ["--overflow", "truncate-middle"])
    #expect(cut.code == 0, "\(cut.err)")
  }

  @Test("a conversation read from standard input answers each line, and remembers the picture")
  func chat() throws {
    let input = Array("hello\nand now?\n/stats\n/nonsense\n".utf8)
    let outcome = try limn(
      ["chat", tinyPicture, "--model", tinyModel, "--max-tokens", "3"], input: input)
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(outcome.out.split(separator: "\n", omittingEmptySubsequences: false).count >= 3)
    #expect(outcome.err.contains("tokens") && outcome.err.contains("/nonsense"))
  }

  @Test("there is no colour and no progress if standard error is not a terminal")
  func plainErrors() throws {
    let outcome = try limn("ask", tinyPicture, "hello", "--model", tinyModel, "--max-tokens", "2", "--stats")
    #expect(!outcome.err.contains("\u{1B}") && !outcome.err.contains("\r"))
    #expect(outcome.err.contains("tokens/s"))
  }

  @Test("the parts of a model are found in the Hugging Face cache, in main's current snapshot")
  func huggingFaceCache() throws {
    let folder = try TemporaryFolder()
    let files = FileManager.default
    let checkpoints = fixtures + "/Models/checkpoints"
    for (name, repository) in [("layout-base", "some--layout-base"), ("layout-clip", "openai--layout-clip")] {
      let place = folder.path + "/hub/models--" + repository
      // An older snapshot sorts first.
      try files.createDirectory(atPath: place + "/snapshots/0ld", withIntermediateDirectories: true)
      try files.createDirectory(atPath: place + "/refs", withIntermediateDirectories: true)
      try Data("{}".utf8).write(to: URL(fileURLWithPath: place + "/snapshots/0ld/config.json"))
      try Data("new\n".utf8).write(to: URL(fileURLWithPath: place + "/refs/main"))
      try files.copyItem(atPath: "\(checkpoints)/\(name)", toPath: place + "/snapshots/new")
    }
    let adapter = folder.path + "/a/adapter"
    try files.createDirectory(atPath: folder.path + "/a", withIntermediateDirectories: true)
    try files.copyItem(atPath: checkpoints + "/lora-original", toPath: adapter)
    for (file, from, to) in [
      ("adapter_config.json", "\"layout-base\"", "\"some/layout-base\""),
      ("config.json", "\"layout-clip\"", "\"openai/layout-clip\""),
    ] {
      let place = adapter + "/" + file
      let text = try String(contentsOfFile: place, encoding: .utf8)
      #expect(text.contains(from))
      try text.replacing(from, with: to).write(toFile: place, atomically: true, encoding: .utf8)
    }
    var outcome = try limn("show", "--model", adapter, environment: ["HF_HOME": folder.path])
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(outcome.out.contains("some--layout-base/snapshots/new"))
    #expect(outcome.out.contains("openai--layout-clip/snapshots/new"))
    outcome = try limn("show", "--model", adapter, environment: ["HF_HOME": folder.path + "/nowhere"])
    #expect(outcome.code == 66 && outcome.errorLines.count == 1 && outcome.err.contains("some/layout-base"))
    outcome = try limn(
      "show", "--model", adapter, "--base", checkpoints + "/layout-base",
      environment: ["HF_HOME": folder.path + "/nowhere"])
    #expect(outcome.code == 66 && outcome.err.contains("fetch openai/layout-clip"))
    outcome = try limn("show", "--model", adapter, "--base", checkpoints + "/llama-mha")
    #expect(outcome.code == 65 && outcome.errorLines.count == 1)
  }
}
