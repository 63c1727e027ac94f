import Foundation
import LimnCore
import LimnGrammar
import LimnTesting
import Testing

/// Random schemas with texts that fit and texts that do not, as jsonschema judges them.
private struct Case {
  let schema: JSON
  let fits: [String]
  let others: [String]

  static let all: [Case] = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/Grammar/schemas.json").path
    func texts(_ json: JSON?) -> [String] { json?.array?.compactMap(\.string) ?? [] }
    return try! JSON.parse(file: path).array!.map {
      Case(schema: $0["schema"]!, fits: texts($0["fits"]), others: texts($0["others"]))
    }
  }()
}

private func matcher(_ schema: String) throws -> GrammarMatcher {
  GrammarMatcher(try Grammar(schema: try JSON.parse(schema, place: "the schema")))
}

extension GrammarMatcher {
  /// Whether a whole text is allowed.
  fileprivate func allows(_ text: String) -> Bool { state(after: text.utf8, from: start).map(isAccepting) ?? false }

  /// A text made of bytes that are drawn from those that may come next; nil if it came to no end in some thousand steps.
  fileprivate func text(_ random: inout SeededRandom) throws -> String? {
    var (state, bytes) = (start, [UInt8]())
    while bytes.count < 4000 {
      let next = (UInt8.min...UInt8.max).compactMap { byte in
        self.state(after: [byte], from: state).map { (byte: byte, state: $0) }
      }
      if isAccepting(state), next.isEmpty || random.next() % 3 == 0 {
        return try #require(String(validating: bytes, as: UTF8.self))
      }
      try #require(!next.isEmpty, "stuck behind \(String(decoding: bytes, as: UTF8.self))")
      let closing = next.filter { [UInt8](#""}]"#.utf8).contains($0.byte) }
      let choices = !closing.isEmpty && random.next() % 50 < 8 + UInt64(bytes.count) / 4 ? closing : next
      let choice = choices[Int(random.next() % UInt64(choices.count))]
      bytes.append(choice.byte)
      state = choice.state
    }
    return nil
  }
}

@Suite struct GrammarTests {
  @Test("texts that fit are allowed, and others are not, for 500 schemas")
  func verdicts() throws {
    for test in Case.all {
      guard let grammar = try? Grammar(schema: test.schema) else {
        #expect(test.fits.isEmpty, "\(test.schema.serialised())")
        continue
      }
      let matcher = GrammarMatcher(grammar)
      for text in test.fits { #expect(matcher.allows(text), "\(text) and \(test.schema.serialised())") }
      for text in test.others { #expect(!matcher.allows(text), "\(text) and \(test.schema.serialised())") }
    }
  }

  @Test("whatever is written byte by byte as allowed comes to an end, is JSON and fits, for 500 schemas")
  func walks() throws {
    var random = SeededRandom(1)
    var ended = 0
    for test in Case.all {
      let validator = SchemaValidator(root: test.schema)
      for text in test.fits { #expect(validator.fits(try JSON.parse(text, place: "it"), test.schema), "\(text)") }
      for text in test.others { #expect(!validator.fits(try JSON.parse(text, place: "it"), test.schema), "\(text)") }
      guard let grammar = try? Grammar(schema: test.schema) else { continue }
      let matcher = GrammarMatcher(grammar)
      for _ in 0..<4 {
        guard let text = try matcher.text(&random) else { continue }
        ended += 1
        let value = try JSON.parse(text, place: "the answer")
        #expect(validator.fits(value, test.schema), "\(text) and \(test.schema.serialised())")
      }
    }
    #expect(ended > 1800)
  }

  @Test("strings may be written with escapes, and count characters, not bytes")
  func strings() throws {
    let short = try matcher(#"{"type": "string", "minLength": 2, "maxLength": 3}"#)
    for text in [#""ab""#, #""中文😀""#, #""\u4e2d\n""#, #""\"\\""#, #""é\/b""#] { #expect(short.allows(text), "\(text)") }
    for text in [#""a""#, #""abcd""#, #""\u4e2d""#, "\"a\nb\"", #""\ud83d\ude00x""#, #""a\x""#] {
      #expect(!short.allows(text), "\(text)")
    }
    let digits = try matcher(#"{"type": "string", "pattern": "^[0-9]{2}$"}"#)
    #expect(digits.allows(#""1\u0032""#) && !digits.allows(#""1\u0041""#))
  }

  @Test("beginnings of characters that a pattern does not allow are refused at their first bytes")
  func beginnings() throws {
    let matcher = try matcher(#"{"type": "string", "pattern": "^[中😀]$"}"#)
    func isAllowed(_ bytes: [UInt8]) -> Bool { matcher.state(after: [0x22] + bytes, from: matcher.start) != nil }
    #expect(isAllowed([0xE4]) && isAllowed([0xE4, 0xB8]) && isAllowed([0xF0, 0x9F]))
    for bytes: [UInt8] in [[0x61], [0xC3], [0xE5], [0xE4, 0xB9], [0xF1], [0xF0, 0x90], [0xFF], [0x80], [0x5C, 0x6E]] {
      #expect(!isAllowed(bytes), "\(bytes)")
    }
  }

  @Test("numbers keep within their bounds, and always end")
  func numbers() throws {
    let month = try matcher(#"{"type": "integer", "minimum": 1, "maximum": 12}"#)
    for number in 0...130 { #expect(month.allows("\(number)") == (1...12).contains(number), "\(number)") }
    for text in ["01", "-1", "1.0", "1e1", "+1", "-0"] { #expect(!month.allows(text), "\(text)") }
    let share = try matcher(#"{"type": "number", "exclusiveMinimum": -0.5, "maximum": 1}"#)
    for text in ["0", "1", "0.999999", "-0.499999", "1.0", "0.0"] { #expect(share.allows(text), "\(text)") }
    for text in ["-0.5", "1.000001", "2", "-1", "0.", "-0", "-", "0.1234567"] {
      #expect(!share.allows(text), "\(text)")
    }
    let free = try matcher(#"{"type": "number"}"#)
    #expect(free.allows("-12345.678") && !free.allows("-0.000") && free.allows("-0.001"))
    #expect(free.allows("999999999999") && !free.allows("1234567890123"))
  }

  @Test("an object's optional properties may be left out, and come in the schema's order")
  func objects() throws {
    let schema = try matcher(
      #"""
      {"type": "object", "properties": {"a": {"type": "null"}, "b\"": {"type": "null"}, "c": {"type": "null"}},
      "required": ["b\""]}
      """#)
    for text in [#"{"b\"":null}"#, #"{"a": null, "b\"": null}"#, #"{"b\"":null,"c":null}"#] {
      #expect(schema.allows(text), "\(text)")
    }
    for text in ["{}", #"{"a":null}"#, #"{"b\"":null,"a":null}"#, #"{"b\"":null,}"#, #"{"b\"":null,"d":1}"#] {
      #expect(!schema.allows(text), "\(text)")
    }
  }

  @Test("schemas may contain themselves, as long as an answer can end")
  func recursion() throws {
    let tree = try matcher(
      ##"{"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}"##
    )
    #expect(tree.allows(#"{"next":{"next":{"next":null}}}"#) && !tree.allows(#"{"next":{"next":{}}}"#))
  }

  @Test(
    "however deep an answer nests itself, it can be completed, and at some depth it must be",
    arguments: [
      (
        ##"{"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}"##,
        #"{"next":"#, "null", "}"
      ),
      (##"{"type": "array", "items": {"$ref": "#"}}"##, "[", "", "]"),
      (##"{"type": "array", "items": {"$ref": "#"}}"##, "[[],", "[]", "]"),
      (#"{"type": "object"}"#, #"{"a":"#, "1", "}"), ("true", #"[0, {"b": "#, "[]", "}]"),
    ])
  func depth(_ schema: String, _ begin: String, _ middle: String, _ end: String) throws {
    let matcher = try matcher(schema)
    var (state, depth) = (matcher.start, 0)
    while depth < 1000, let next = matcher.state(after: begin.utf8, from: state) { (state, depth) = (next, depth + 1) }
    #expect((20..<1000).contains(depth))
    let text = String(repeating: begin, count: depth) + middle + String(repeating: end, count: depth)
    #expect(matcher.allows(text), "\(depth)")
  }

  @Test("a schema that is nested deeply by itself can be followed to its end")
  func deepSchemas() throws {
    let depth = 90
    let schema =
      String(repeating: #"{"type": "array", "minItems": 1, "items": "#, count: depth) + "true"
      + String(repeating: "}", count: depth)
    #expect(
      try matcher(schema).allows(String(repeating: "[", count: depth) + "0" + String(repeating: "]", count: depth)))
  }

  @Test(
    "schemas that are wrong, that nothing fits or that could not be enforced are refused, with the place",
    arguments: [
      (#"{"type": "strin"}"#, "#/type"), (#"{"type": "integer", "minimum": 5, "maximum": 4}"#, "#"),
      (#"{"properties": {"a/b": {"multipleOf": 3}}}"#, "#/properties/a~1b"), (##"{"$ref": "#/$defs/A"}"##, "#"),
      (##"{"$ref": "#"}"##, "#"), (#"{"type": "string", "pattern": "(?=a)"}"#, "#/pattern"),
      (#"{"oneOf": [{"type": "string"}, {"minLength": 2}]}"#, "#"), (#"{"items": 5}"#, "#/items"),
      (#"{"type": "object", "required": ["a"], "additionalProperties": false}"#, "#"), ("[]", "#"),
      (#"{"type": "string", "pattern": "^[a"}"#, "#/pattern"), (#"{"enum": []}"#, "#"), ("false", "#"),
      (#"{"type": "string", "pattern": "^(a{1,900}){1,900}$"}"#, "#/pattern"), (#"{"minLength": -1}"#, "#"),
      (#"{"type": "number", "minimum": 1e300}"#, "#"), (#"{"$ref": "https://example.org/a"}"#, "#"),
    ])
  func refusals(_ schema: String, _ place: String) {
    let error = #expect(throws: LimnError.self) { try matcher(schema) }
    #expect(error?.code == .invalidSchema && error?.place == "schema \(place)", "\(error?.description ?? "")")
  }

  @Test("one of several schemas is allowed where they exclude each other")
  func oneOf() throws {
    let shapes = try matcher(
      #"""
      {"oneOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}], "discriminator": {"propertyName": "kind"},
      "$defs": {
        "Circle": {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "integer"}}, "required": ["kind", "r"]},
        "Square": {"type": "object", "properties": {"kind": {"const": "square"}}, "required": ["kind"]}}}
      """#)
    #expect(shapes.allows(#"{"kind":"circle","r":1}"#) && shapes.allows(#"{"kind":"square"}"#))
    #expect(!shapes.allows(#"{"kind":"circle"}"#))
  }

  @Test("a mask has exactly the tokens whose bytes may come next")
  func masks() throws {
    let texts: [[UInt8]?] = [
      nil, [UInt8](#"{""#.utf8), [UInt8](#"{"mood": ""#.utf8), [UInt8]("{\"moo".utf8), [UInt8]("{ ".utf8), [0xE4],
      [0xE4, 0xB8],
      [0xAD], [UInt8]("中".utf8), [UInt8](#"""#.utf8), [UInt8](#""}"#.utf8), [UInt8](#""},"#.utf8), [UInt8]("}".utf8),
      [],
    ]
    let matcher = GrammarMatcher(
      try Grammar(schema: try JSON.parse(#"{"properties": {"mood": {"enum": ["中"]}}}"#, place: "it")),
      tokens: TokenTrie(texts))
    func allowed(after text: [UInt8]) -> [Int] {
      let mask = matcher.mask(matcher.state(after: text, from: matcher.start)!)
      return texts.indices.filter { mask.contains(Int32($0)) }
    }
    #expect(allowed(after: []) == [1, 2, 3])
    #expect(allowed(after: Array(#"{"mood": ""#.utf8)) == [5, 6, 8])
    #expect(allowed(after: Array(#"{"mood": ""#.utf8) + [0xE4, 0xB8]) == [7])
    #expect(allowed(after: Array(#"{"mood":"中"#.utf8)) == [9, 10])
    #expect(allowed(after: Array(#"{"mood":"中"}"#.utf8)) == [])
  }
}
