import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

import LimnText

@Suite("Tokenizers compared with their own libraries")
struct TokenizerTests {
  @Test("the fixtures are not empty")
  func fixtures() { #expect(TokenizerFixture.names.count > 20) }

  @Test("texts encode to the library's ids", arguments: TokenizerFixture.names)
  func encodes(name: String) throws {
    let fixture = try TokenizerFixture(name)
    for (text, ids) in fixture.texts("encode") {
      #expect(fixture.tokenizer.encode(text) == ids, "\(text.debugDescription)")
    }
    for (text, ids) in fixture.texts("plain") {
      #expect(fixture.tokenizer.encode(text, addSpecial: false) == ids, "\(text.debugDescription)")
    }
  }

  @Test(
    "ids decode to the library's text, at once and token by token",
    arguments: TokenizerFixture.names)
  func decodes(name: String) throws {
    let fixture = try TokenizerFixture(name)
    for (ids, text, withoutSpecial) in fixture.ids {
      #expect(same(fixture.tokenizer.decode(ids), text), "\(ids)")
      #expect(same(fixture.tokenizer.decode(ids, skipSpecial: true), withoutSpecial), "\(ids)")
      #expect(same(fixture.tokenizer.streamed(ids), text), "\(ids)")
    }
  }

  @Test("streaming returns whole characters as soon as they are certain")
  func streams() throws {
    let tokenizer = try TokenizerFixture("gpt2").tokenizer
    let ids = tokenizer.encode("🌅", addSpecial: false)
    try #require(ids.count > 1)
    var detokenizer = StreamingDetokenizer(tokenizer, skipSpecial: false)
    #expect(ids.dropLast().map { detokenizer.append($0) } == ids.dropLast().map { _ in "" })
    #expect(detokenizer.append(ids[ids.count - 1]) == "🌅")
    #expect(detokenizer.append(ids[0]) == "")
    #expect(detokenizer.finish() == "\u{FFFD}")
  }

  @Test("encoding 300,000 characters without a space does not take quadratic time")
  func longWord() throws {
    for name in ["legacy", "gpt2", "model"] {
      let tokenizer = try TokenizerFixture(name).tokenizer
      let word = String(repeating: "weather", count: 40_000)
      let ids = tokenizer.encode(word, addSpecial: false)
      #expect(tokenizer.decode(ids) == word)
    }
  }

  @Test("pieces map to ids and back, and unknown ones to nil")
  func pieces() throws {
    let tokenizer = try TokenizerFixture("legacy").tokenizer
    #expect(tokenizer.piece(1) == "<s>" && tokenizer.id(of: "<s>") == 1)
    #expect(tokenizer.id(of: "<|a|>").flatMap(tokenizer.piece) == "<|a|>")
    #expect(tokenizer.piece(tokenizer.vocabularySize) == nil && tokenizer.piece(-1) == nil)
    #expect(tokenizer.id(of: "no such piece") == nil)
    #expect(tokenizer.decode([-1, tokenizer.vocabularySize, 1]) == "<s>")
  }
}

@Suite("Files next to a tokenizer.json")
struct TokenizerFolderTests {
  private func folder(_ files: [String: String]) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    let json = try String(contentsOfFile: TokenizerFixture.folder + "/legacy/tokenizer.json", encoding: .utf8)
    try folder.write(json, to: "tokenizer.json")
    for (name, text) in files { try folder.write(text, to: name) }
    return folder
  }

  @Test("special tokens that only the small files name get transformers' ids, however they are written")
  func namedTokens() throws {
    let json = try JSON.parse(file: TokenizerFixture.folder + "/named.json")
    let text = try #require(json["text"]?.string)
    let cases = try #require(json["cases"]?.array)
    #expect(cases.count == 60)
    for item in cases {
      var files = ["tokenizer_config.json": item["config"]?.serialised(.compact) ?? ""]
      files["special_tokens_map.json"] = item.present("map")?.serialised(.compact)
      let folder = try folder(files)
      let tokenizer = try Tokenizer(.folder(path: folder.path))
      #expect(
        tokenizer.encode(text, addSpecial: false) == item["ids"]?.array?.compactMap(\.int),
        "\(files.sorted { $0.key > $1.key })")
    }
  }

  @Test("added tokens have the ids that the library tokenizers gives them, not those that stand there")
  func addedTokens() throws {
    let folder = try TemporaryFolder()
    func token(_ text: String, _ id: Int) -> String { #"{"id": \#(id), "content": "\#(text)", "special": true}"# }
    let added = [token("X", 9), token("Y", 5), token("b", 7), token("X", 3)].joined(separator: ", ")
    try folder.write(
      #"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": [\#(added)]}"#,
      to: "tokenizer.json")
    let tokenizer = try Tokenizer(.folder(path: folder.path))
    #expect(tokenizer.id(of: "X") == 2 && tokenizer.id(of: "Y") == 3 && tokenizer.id(of: "b") == 1)
  }

  @Test("pieces of a tokenizer.model need not be UTF-8")
  func rawPieces() throws {
    let bytes = try Data(contentsOf: URL(filePath: TokenizerFixture.folder + "/model/tokenizer.model"))
    let folder = try TemporaryFolder()
    // One more piece: its field, its size, its text (E2 96 alone, half of a character) and its score.
    let piece: [UInt8] = [0x0A, 0x09, 0x0A, 0x02, 0xE2, 0x96, 0x15, 0, 0, 0x7A, 0xC4]
    try (bytes + Data(piece)).write(to: URL(filePath: folder.path + "/tokenizer.model"))
    let tokenizer = try Tokenizer(.folder(path: folder.path))
    let plain = try TokenizerFixture("model").tokenizer
    #expect(tokenizer.vocabularySize == plain.vocabularySize + 1)
    #expect(tokenizer.encode("the house") == plain.encode("the house"))
    #expect(tokenizer.decode([plain.vocabularySize]) == "\u{FFFD}")
  }

  @Test("special_tokens_map.json overrides the special tokens named in tokenizer_config.json")
  func names() throws {
    let folder = try folder([
      "tokenizer_config.json":
        #"{"bos_token": "<s>", "eos_token": "</s>", "pad_token": null, "chat_template": "x"}"#,
      "special_tokens_map.json": #"{"eos_token": {"content": "<|b|>", "lstrip": true}}"#,
    ])
    let tokenizer = try Tokenizer(.folder(path: folder.path))
    #expect(tokenizer.specialTokens == ["bos_token": "<s>", "eos_token": "<|b|>"])
    #expect(tokenizer.bosID == 1 && tokenizer.eosID == tokenizer.id(of: "<|b|>"))
    #expect(tokenizer.padID == nil && tokenizer.unknownID == nil)
    #expect(tokenizer.endOfGenerationIDs == [tokenizer.eosID!, 2])
  }

  @Test("added_tokens_decoder's settings apply and the other files are ignored")
  func addedTokensDecoder() throws {
    let folder = try folder([
      "tokenizer_config.json": """
      {"bos_token": "<s>", "added_tokens_decoder": {"559": {"content": "<|a|>", "rstrip": false, "special": true},
        "900": {"content": "<|new|>", "rstrip": true, "special": true}}}
      """,
      "special_tokens_map.json": #"{"bos_token": "</s>"}"#,
    ])
    let tokenizer = try Tokenizer(.folder(path: folder.path))
    let before = try TokenizerFixture("legacy").tokenizer
    #expect(tokenizer.bosID == 1)
    // transformers numbers new tokens from the last id on, whatever the file says.
    #expect(tokenizer.id(of: "<|new|>") == before.vocabularySize)
    #expect(tokenizer.encode("<|new|> \n") == [1, before.vocabularySize] + [2])
    #expect(tokenizer.encode("<|a|>\n").count == before.encode("<|a|>\n").count + 2)
  }

  @Test("a folder without tokenizer files gives a notFound error that names the missing files")
  func missing() throws {
    let folder = try TemporaryFolder()
    let error = #expect(throws: LimnError.self) { try Tokenizer(.folder(path: folder.path)) }
    #expect(error?.kind == .notFound && error?.expected?.contains("tokenizer.model") == true)
  }

  @Test(
    "unknown components are refused by name",
    arguments: [
      (#""pre_tokenizer": null"#, #""pre_tokenizer": {"type": "UnicodeScripts"}"#, "UnicodeScripts"),
      (#""type":"Prepend""#, #""type":"Nmt""#, "Nmt"), (#""type":"ByteFallback""#, #""type":"CTC""#, "CTC"),
      (#""type":"TemplateProcessing""#, #""type":"Other""#, "Other"),
      (#""type":"BPE""#, #""type":"Unigram""#, "Unigram"),
    ])
  func unknown(before: String, after: String, name: String) throws {
    let folder = try TemporaryFolder()
    let json = try String(contentsOfFile: TokenizerFixture.folder + "/legacy/tokenizer.json", encoding: .utf8)
    let changed = json.replacingOccurrences(of: before, with: after)
      .replacingOccurrences(of: before.replacingOccurrences(of: " ", with: ""), with: after)
    try folder.write(changed, to: "tokenizer.json")
    let error = #expect(throws: LimnError.self) { try Tokenizer(.folder(path: folder.path)) }
    #expect(error?.kind == .badData && error?.what.description.contains(name) == true)
  }

  @Test(
    "a vocabulary with invalid ids or merges is refused",
    arguments: [
      #"{"vocab": {"a": -1}, "merges": []}"#, #"{"vocab": {"a": 99999999999}, "merges": []}"#,
      #"{"vocab": {"a": 0}, "merges": ["a b"]}"#, #"{"vocab": {"a": 0}, "merges": ["a"]}"#,
      #"{"vocab": {"a": 0}, "merges": [3]}"#, #"{"vocab": ["a"], "merges": []}"#, #"{"vocab": {"a": 0}}"#,
    ])
  func broken(model: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(#"{"model": \#(model)}"#, to: "tokenizer.json")
    #expect(throws: LimnError.self) { try Tokenizer(.folder(path: folder.path)) }
  }

  @Test("a truncated tokenizer.model is refused")
  func cutModel() throws {
    let bytes = try Data(contentsOf: URL(filePath: TokenizerFixture.folder + "/model/tokenizer.model"))
    let folder = try TemporaryFolder()
    let file = URL(filePath: folder.path + "/tokenizer.model")
    for count in [0, 1, 2, 3, 20, 100, bytes.count / 2, bytes.count - 3] {
      try bytes.prefix(count).write(to: file)
      #expect(throws: LimnError.self, "\(count) bytes") { try Tokenizer(.folder(path: folder.path)) }
    }
  }

  @Test("added_tokens.json next to a tokenizer.model keeps its ids, as the original LLaVA layout requires")
  func addedTokensOfModel() throws {
    let folder = try TemporaryFolder()
    let bytes = try Data(contentsOf: URL(filePath: TokenizerFixture.folder + "/model/tokenizer.model"))
    try bytes.write(to: URL(filePath: folder.path + "/tokenizer.model"))
    try folder.write(#"{"<|end|>": 1007, "<pad>": 1000}"#, to: "added_tokens.json")
    try folder.write(#"{"pad_token": "<pad>", "add_eos_token": true}"#, to: "tokenizer_config.json")
    let tokenizer = try Tokenizer(.folder(path: folder.path))
    let plain = try TokenizerFixture("model").tokenizer
    let hello = plain.encode("the", addSpecial: false)
    #expect(tokenizer.encode("the<|end|>the") == [1] + hello + [1007] + hello + [2])
    #expect(tokenizer.padID == 1000 && tokenizer.vocabularySize == 1008)
    try folder.write(#"{"legacy": false}"#, to: "tokenizer_config.json")
    let modern = try Tokenizer(.folder(path: folder.path))
    #expect(modern.encode("<|end|>the") != [1, 1007] + hello)
    #expect(modern.encode("the") == [1] + hello)
  }
}

@Suite("Tokenizers with more tokens than the model has rows")
struct TokenizerExportTests {
  /// "▁" has a higher id than the pieces made of it, as in Llama's vocabulary; `</s>` is the last token.
  private func tokenizer(postProcessor: String = "null") throws -> Tokenizer {
    let folder = try TemporaryFolder()
    try folder.write(
      #"""
      {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "post_processor": \#(postProcessor),
       "model": {"type": "BPE", "merges": ["▁ a", "a a"],
        "vocab": {"<unk>": 0, "<s>": 1, "a": 2, "aa": 3, "▁a": 4, "▁": 5, "</s>": 6}}}
      """#, to: "tokenizer.json")
    try folder.write(
      #"{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}"#,
      to: "tokenizer_config.json")
    return try Tokenizer(.folder(path: folder.path))
  }

  @Test("merges and special tokens beyond the rows are left out")
  func leftOut() throws {
    let tokenizer = try tokenizer()
    func merge(_ left: String, _ right: String) -> JSON { .array([.string(left), .string(right)]) }
    let whole = try TokenizerExport(tokenizer, rows: 8, place: "x")
    #expect(whole.tokenizerJSON(imageToken: 7)["model"]?["merges"] == .array([merge("▁", "a"), merge("a", "a")]))
    #expect(whole.configJSON(processor: "x")["eos_token"] == .string("</s>"))
    let small = try TokenizerExport(tokenizer, rows: 5, place: "x")
    #expect(small.tokenizerJSON(imageToken: 4)["model"]?["merges"] == .array([merge("a", "a")]))
    let config = small.configJSON(processor: "x")
    #expect(config["bos_token"] == .string("<s>") && config["eos_token"] == nil)
    #expect(config["pad_token"] == .string("<unk>"))
  }

  @Test("a tokenizer that puts a token without a row around every text is refused")
  func around() throws {
    let tokenizer = try tokenizer(
      postProcessor: #"""
        {"type": "TemplateProcessing",
         "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
         "special_tokens": {"</s>": {"id": "</s>", "ids": [6], "tokens": ["</s>"]}}}
        """#)
    let whole = try TokenizerExport(tokenizer, rows: 8, place: "x")
    #expect(whole.tokenizerJSON(imageToken: 7).present("post_processor") != nil)
    let error = #expect(throws: LimnError.self) { try TokenizerExport(tokenizer, rows: 6, place: "x") }
    #expect(error?.kind == .badData && error?.found == "6")
  }
}

@Suite("Patterns")
struct PatternTests {
  @Test("classes of code points match Oniguruma's")
  func classes() throws {
    let classes = try JSON.parse(file: TokenizerFixture.folder + "/classes.json")
    let tests: [(String, (UInt32) -> Bool)] = [
      (#"\p{L}"#, { CharacterClass(of: $0).contains(.letter) }),
      (#"\p{N}"#, { CharacterClass(of: $0).contains(.number) }),
      (#"\p{M}"#, { CharacterClass(of: $0).contains(.mark) }),
      (#"\p{P}"#, { CharacterClass(of: $0).contains(.punctuation) }),
      (#"\s"#, { CharacterClass(of: $0).contains(.space) }), (#"\w"#, CharacterClass.isWord),
    ]
    for (name, isMember) in tests {
      var ranges: [Int] = []
      for value in 0..<0x110000 where !(0xD800..<0xE000).contains(value) && isMember(UInt32(value)) {
        if ranges.last == value - 1 { ranges[ranges.count - 1] = value } else { ranges += [value, value] }
      }
      let expected = classes[name]!.array!.map { $0.int! }
      #expect(ranges == expected, "\(name)")
    }
  }

  private func matches(_ pattern: String, _ text: String) throws -> [String] {
    let bytes = Array(text.utf8)
    let pattern = try Pattern(pattern)
    let ranges = bytes.withUnsafeBufferPointer { pattern.matches(in: $0) }
    return ranges.map { String(decoding: bytes[$0], as: UTF8.self) }
  }

  @Test("patterns match as in Oniguruma")
  func matching() throws {
    #expect(try matches(#"a+?b|[^x-z\s]{2,3}"#, "aab wvu xy12") == ["aab", "wvu", "12"])
    #expect(try matches(#"(?i:ſtraße|K)"#, "STRASSE straße k \u{212A}") == ["straße", "k", "\u{212A}"])
    #expect(try matches(#"\p{Lu}\P{Lu}*|\x{41}"#, "AbcÄäZ") == ["Abc", "Ää", "Z"])
    #expect(try matches(#"\d{1,2}(?=(?:\d{2})*$)"#, "1234567") == ["1", "23", "45", "67"])
    #expect(try matches(#"(?>a+)b|a"#, "aaac ab") == ["a", "a", "a", "ab"])
    #expect(try matches(#"\s+(?!\S)|\s+"#, "a   b ") == ["  ", " ", " "])
    #expect(try matches("", "ab") == ["", "", ""])
  }

  @Test(
    "a pattern that would take forever gives up", arguments: [#"(a*)*b"#, #"(a|aa)+$b"#, #"(?:a?){50}c"#])
  func hostile(pattern: String) throws {
    #expect(try matches(pattern, String(repeating: "a", count: 60)) == [])
  }

  @Test("a hostile pattern's work on a long text is bounded", .timeLimit(.minutes(1)))
  func longHostile() throws {
    #expect(try matches("a*a*a*b", String(repeating: "a", count: 20_000)) == [])
  }

  @Test("an ordinary pattern splits a long text to its end")
  func longHonest() throws {
    let text = String(repeating: "a", count: 300_000) + String(repeating: " b", count: 20_000)
    let words = try matches(#"\p{L}+|\s+(?!\S)|\s+"#, text)
    #expect(words.count == 40_001 && words.first?.count == 300_000 && words.last == "b")
  }

  @Test(
    "invalid and oversized patterns are refused",
    arguments: [
      "(", ")", "[", "*a", "a{3,2}", #"\p{Klingon}"#, #"\q"#, "[z-a]", "(?<n>a)", "[a[b]]",
      "(((a{900}){900}){900})",
      String(repeating: "(", count: 5000), "\\",
    ])
  func refused(pattern: String) {
    #expect(throws: LimnError.self) { try Pattern(pattern) }
  }
}
