import Foundation
import LimnCore
import Testing

private let checkpoints = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures/Models/checkpoints").path

@Suite struct MessageTests {
  @Test("every option that a message names exists in the command")
  func options() throws {
    let help = try ["ask", "quantize"].map { try limn("help", $0).out }.joined()
    for option in LimnError.Option.allCases {
      let name = option.name(for: .command)
      #expect(help.contains("\(name) ") || help.contains("\(name)\n"), "\(name)")
    }
  }

  @Test("messages spell options as the command does, on one line and in JSON")
  func words() throws {
    let model = checkpoints + "/llama-mha"
    let text = String(repeating: "hello world ", count: 40)
    let long = try limn("ask", text, "--model", model, "--context", "32")
    #expect(
      long.err.hasPrefix("limn: the prompt does not fit the context: expected fewer than 32 tokens, found "))
    #expect(long.err.contains("; shorten it, raise --context (the model was trained for "))
    #expect(long.err.hasSuffix("), or use --overflow truncate-middle\n"))
    let base = try limn("ask", "hello", "--model", model, "--base", model)
    #expect(base.code == 2)
    #expect(base.err == "limn: \(model): --base goes with an adapter or a projector; this folder holds a whole model\n")
    let projector = try limn("show", "--model", model, "--mmproj", "x.gguf", "--json")
    #expect(projector.code == 2 && projector.err.hasSuffix("--mmproj goes with a .gguf model, not with a folder\n"))
    #expect((projector.out + projector.err).contains("LoadOptions") == false)
  }
}
