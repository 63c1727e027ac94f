import Foundation
import LimnFiles
import LimnCore
import LimnText
import Testing

/// llama.cpp's own vocabularies with its own test texts. They are too large for the package: CI keeps them
/// next to the package's folder.
private let vocabularies = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().appending(path: "shared/data/vocab").path

@Suite(
  "Real GGUF vocabularies",
  // Skipped in a plain clone.
  .enabled(if: FileManager.default.fileExists(atPath: vocabularies), "the vocabularies are not here"))
struct GGUFVocabularyTests {
  private func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(.gguf(GGUF(path: vocabularies + "/ggml-vocab-\(name).gguf")))
  }

  @Test("llama.cpp's test texts give its ids", arguments: ["llama-spm", "phi-3", "llama-bpe", "gpt-2"])
  func identical(name: String) throws {
    let tokenizer = try tokenizer(name)
    let base = vocabularies + "/ggml-vocab-\(name).gguf"
    let texts = try String(contentsOfFile: base + ".inp", encoding: .utf8)
      .components(separatedBy: "\n__ggml_vocab_test__\n")
    let lines = try String(contentsOfFile: base + ".out", encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(texts.count > 40 && lines.count >= texts.count)
    for (text, line) in zip(texts, lines) {
      let expected = line.split(separator: " ").map { Int($0)! }
      #expect(tokenizer.encode(text, addSpecial: false) == expected, "\(text.debugDescription)")
    }
  }

  @Test("Phi-3's special tokens strip the line break after them, and end an answer")
  func phi3() throws {
    let tokenizer = try tokenizer("phi-3")
    #expect(
      tokenizer.encode("<|user|>\nHi there<|end|>\n<|assistant|>\n") == [1, 32010, 6324, 727, 32007, 32001])
    #expect(tokenizer.endOfGenerationIDs == [2, 32000, 32007])
    #expect(tokenizer.specialTokens["eos_token"] == "<|endoftext|>" && tokenizer.bosToken == "<s>")
  }

  @Test("Llama 3 texts begin with BOS although the file does not say so; GPT-2 texts do not")
  func beginning() throws {
    #expect(try tokenizer("llama-bpe").encode("Hello world") == [128_000, 9906, 1917])
    #expect(try tokenizer("gpt-2").encode("Hello world") == [15496, 995])
    #expect(try tokenizer("llama-bpe").endOfGenerationIDs == [128_001, 128_009])
  }

  @Test(
    "special tokens that a person spells out are text, with the ids that other texts have",
    arguments: ["llama-spm", "phi-3", "llama-bpe", "gpt-2"])
  func literal(name: String) throws {
    let tokenizer = try tokenizer(name)
    let spellings = SpecialSpellings(tokenizer)
    let mark = try SpecialSpellings.mark(for: [])
    func literal(_ text: String) -> [Int] {
      tokenizer.encode(spellings.marking(text, with: mark), addSpecial: false, literalMark: mark)
    }
    let special = tokenizer.specialIDs.subtracting([tokenizer.unknownID].compactMap(\.self))
    #expect(!special.isEmpty)
    for name in special.sorted().compactMap(tokenizer.piece) {
      for text in [name, "a " + name + "\n" + name, name.dropLast() + name + name.suffix(1)] {
        let ids = literal(text)
        #expect(!ids.contains(where: special.contains), "\(text)")
        #expect(tokenizer.decode(ids) == text, "\(text)")
      }
    }
  }

  @Test("decoding the ids of a text restores it")
  func back() throws {
    for name in ["llama-spm", "llama-bpe", "gpt-2"] {
      let tokenizer = try tokenizer(name)
      for text in ["Hello  world\n", " x", "天氣 🦙 e\u{301}", "It's 1,234."] {
        let ids = tokenizer.encode(text, addSpecial: false)
        #expect(same(tokenizer.decode(ids), text))
        #expect(same(tokenizer.streamed(ids), text))
      }
    }
  }
}
