import Foundation
import LimnCore
import LimnFiles
import LimnTesting
import LimnText
import Testing

/// Swift's literals may not hold them.
private func noncharacter(_ index: UInt32) -> String { String(Unicode.Scalar(0xFDD0 + index)!) }

@Suite("Text that spells special tokens, and is data")
struct SpecialSpellingsTests {
  /// The ids of a text that is data.
  private func literal(_ text: String, _ tokenizer: Tokenizer, _ spellings: SpecialSpellings) throws -> [Int] {
    let mark = try SpecialSpellings.mark(for: [text])
    return tokenizer.encode(spellings.marking(text, with: mark), addSpecial: false, literalMark: mark)
  }

  private func tokenizer(_ json: String, _ config: String = "{}") throws -> Tokenizer {
    let folder = try TemporaryFolder()
    try folder.write(json, to: "tokenizer.json")
    try folder.write(config, to: "tokenizer_config.json")
    return try Tokenizer(.folder(path: folder.path))
  }

  @Test(
    "special tokens that are spelled out become the ids that the library gives where it does not look for them",
    arguments: TokenizerFixture.names)
  func reference(name: String) throws {
    let tokenizer = try TokenizerFixture(name).tokenizer
    let spellings = SpecialSpellings(tokenizer)
    let cases = try #require(try JSON.parse(file: TokenizerFixture.folder + "/\(name)/literal.json").array)
    #expect(cases.count > 60)
    for row in cases {
      let text = try #require(row.array?[0].string)
      let ids = row.array?[1].array?.compactMap(\.int)
      #expect(try literal(text, tokenizer, spellings) == ids, "\(text.debugDescription)")
    }
  }

  @Test("texts without special tokens have the same ids with marks and without", arguments: TokenizerFixture.names)
  func ordinary(name: String) throws {
    let fixture = try TokenizerFixture(name)
    let spellings = SpecialSpellings(fixture.tokenizer)
    var random = SeededRandom(3)
    var texts = fixture.texts("encode").map(\.text)
    let pieces = ["<", "<|", "[", "  ", "\n", "the weather", "house", "The X", "é", "e\u{301}", "天", "12", "|>", "</"]
    texts += (0..<200).map { _ in
      (0..<Int.random(in: 1...8, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
    }
    var count = 0
    for text in texts {
      let ids = fixture.tokenizer.encode(text, addSpecial: false)
      // The unknown token is special, but stands for characters.
      let special = fixture.tokenizer.specialIDs.subtracting(["<unk>", "[UNK]"].compactMap(fixture.tokenizer.id))
      guard special.isDisjoint(with: ids), !text.contains("<unk>") else { continue }
      count += 1
      #expect(try literal(text, fixture.tokenizer, spellings) == ids, "\(text.debugDescription)")
      let mark = try SpecialSpellings.mark(for: [text])
      #expect(fixture.tokenizer.encode(text, addSpecial: false, literalMark: mark) == ids)
    }
    #expect(count > 200)
  }

  @Test("no text makes a special token, however it is nested, cut or put together", arguments: TokenizerFixture.names)
  func hostile(name: String) throws {
    let tokenizer = try TokenizerFixture(name).tokenizer
    let spellings = SpecialSpellings(tokenizer)
    // The unknown token is special, but stands for characters.
    let special = tokenizer.specialIDs.subtracting(["<unk>", "[UNK]"].compactMap(tokenizer.id)).sorted()
    let names = special.compactMap(tokenizer.piece) + ["<image>"]
    #expect(names.count >= 3)
    var random = SeededRandom(5)
    /// A spelling with something inside, between its characters.
    func broken(_ name: String, _ inner: String) -> String {
      let cut = name.index(name.startIndex, offsetBy: Int.random(in: 0...name.count, using: &random))
      return name[..<cut] + inner + name[cut...]
    }
    var texts = names + names.map { $0 + $0 } + ["<|e<|end|>nd|>"]
    for _ in 0..<200 {
      var text = ""
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let inner = Bool.random(using: &random) ? names.randomElement(using: &random)! : noncharacter(0)
        let outer = names.randomElement(using: &random)!
        text += [
          outer, broken(outer, inner), broken(outer, broken(inner, outer)), " ", noncharacter(1) + noncharacter(0),
        ]
        .randomElement(using: &random)!
      }
      texts.append(text)
    }
    for text in texts {
      let mark = try SpecialSpellings.mark(for: [text])
      let marked = spellings.marking(text, with: mark)
      #expect(ExactString(marked.cut(at: String(mark)).joined()) == ExactString(text))
      for name in names { #expect(marked.cut(at: name).count == 1, "\(text.debugDescription)") }
      let ids = tokenizer.encode(marked, addSpecial: false, literalMark: mark)
      #expect(!ids.contains { special.contains($0) }, "\(text.debugDescription) \(ids)")
      // Between tokens of the template, and cut anywhere into two texts that the template may trim and put together.
      let cut = text.unicodeScalars.index(
        text.unicodeScalars.startIndex, offsetBy: Int.random(in: 0...text.unicodeScalars.count, using: &random))
      let parts = [String(text[..<cut]) + " \n", "\t" + String(text[cut...])].map {
        spellings.marking($0, with: mark).trimmingCharacters(in: .whitespacesAndNewlines)
      }
      let framed = tokenizer.encode("</s>" + parts.joined() + "<s>", addSpecial: false, literalMark: mark)
      #expect(framed.filter(special.contains) == ["</s>", "<s>"].compactMap(tokenizer.id), "\(text.debugDescription)")
    }
  }

  @Test("a special token of one character, or looked for in normalised text, is text as well")
  func oddTokens() throws {
    let tokenizer = try tokenizer(
      #"""
      {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
       "model": {"type": "BPE", "merges": [], "unk_token": "?",
        "vocab": {"?": 0, "<": 1, "e": 2, "n": 3, "d": 4, ">": 5, " ": 6, "fi": 7, "f": 8, "i": 9}},
       "added_tokens": [
        {"id": 10, "content": "#", "special": true, "normalized": false},
        {"id": 11, "content": "<END>", "special": true, "normalized": true},
        {"id": 12, "content": "find", "special": true, "normalized": true}]}
      """#)
    let spellings = SpecialSpellings(tokenizer)
    #expect(tokenizer.encode("<End>ＦＩnd") == [11, 12])
    for text in ["<END>", "<end>", "<eNd>", "＜ＥＮＤ＞", "find", "FIND", "ﬁnd", "# #", "<e<end>nd>"] {
      let ids = try literal(text, tokenizer, spellings)
      #expect(!ids.contains(11) && !ids.contains(12) && !ids.isEmpty, "\(text)")
    }
    #expect(tokenizer.encode("e#e") == [2, 10, 2])
    #expect(try literal("e#e", tokenizer, spellings) == [2, 0, 2])
    #expect(try literal("end > fi", tokenizer, spellings) == tokenizer.encode("end > fi"))
  }

  @Test("merges that lead to a special token lead nowhere in text that is data")
  func merges() throws {
    let tokenizer = try tokenizer(
      #"""
      {"model": {"type": "BPE", "merges": ["< s", "<s >"], "vocab": {"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 4, "a": 5}},
       "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}]}
      """#)
    let spellings = SpecialSpellings(tokenizer)
    #expect(tokenizer.encode("a<s>") == [5, 4])
    #expect(try literal("a<s>a", tokenizer, spellings) == [5, 0, 1, 2, 5])
    #expect(try literal("a<s", tokenizer, spellings) == [5, 3])
  }

  @Test("tokens that a template writes are data too, special or not; words and white space are not")
  func templateTokens() throws {
    let tokenizer = try tokenizer(
      #"""
      {"model": {"type": "BPE", "merges": [], "vocab": {"<": 0, "u": 1, ">": 2, "a": 3, "\n": 4}},
       "added_tokens": [{"id": 5, "content": "<u>", "special": false, "normalized": false},
        {"id": 6, "content": "\n\n", "special": false, "normalized": false},
        {"id": 7, "content": "<a>", "special": false, "normalized": false},
        {"id": 8, "content": "au", "special": false, "normalized": false}]}
      """#)
    var spellings = SpecialSpellings(tokenizer)
    #expect(try literal("<u>au\n\n<a>", tokenizer, spellings) == [5, 8, 6, 7])
    spellings.insert(tokensOf: "<u>au\n\nx")
    #expect(try literal("<u>au\n\n<a>", tokenizer, spellings) == [0, 1, 2, 8, 6, 7])
  }

  @Test("the mark stands in none of the texts, and texts that hold every possible one are refused")
  func marks() throws {
    let all = (0xFDD0...0xFDEF as ClosedRange<UInt32>).compactMap(Unicode.Scalar.init)
    #expect(try SpecialSpellings.mark(for: []) == all[0])
    #expect(try SpecialSpellings.mark(for: ["a" + noncharacter(0), noncharacter(1)]) == all[2])
    let text = String(String.UnicodeScalarView(all))
    let error = #expect(throws: LimnError.self) { try SpecialSpellings.mark(for: [text]) }
    #expect(error?.kind == .badData && error?.code == .invalidPrompt)
  }
}
