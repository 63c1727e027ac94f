import LimnFiles
import LimnCore
import Testing

@Suite("JSON") struct JSONTests {
  @Test("values are written as by Python's json.dumps")
  func writing() throws {
    for example in try #require(try Fixtures.json("json.json")["good"]?.array) {
      let text = try #require(example["text"]?.string)
      let value = try JSON.parse(text, place: "test")
      for (form, format) in [
        ("plain", JSON.Format()), ("ascii", JSON.Format(escapesNonASCII: true)), ("compact", .compact),
        ("indent", JSON.Format(indent: 2, sortsKeys: true)),
      ] {
        #expect(value.serialised(format) == example[form]?.string, "\(text) \(form)")
      }
    }
  }

  @Test("texts that Python refuses are refused, with line and column")
  func refusals() throws {
    for text in try #require(try Fixtures.json("json.json")["bad"]?.array).compactMap(\.string) {
      let error = #expect(throws: LimnError.self, "\(text)") { try JSON.parse(text, place: "test") }
      #expect(error?.place?.hasPrefix("test, line ") == true)
    }
    let error = #expect(throws: LimnError.self) { try JSON.parse("[1,\n 2,\n x]", place: "p") }
    #expect(error?.place == "p, line 3, column 2")
  }

  @Test("numbers have the digits of Python's repr")
  func numbers() throws {
    for pair in try #require(try Fixtures.json("json.json")["numbers"]?.array) {
      let bits = try #require(UInt64(pair.array?[0].string ?? "", radix: 16))
      #expect(JSON.text(of: Double(bitPattern: bits)) == pair.array?[1].string)
    }
  }

  @Test("canonically equivalent texts stay different keys and values")
  func exactTexts() throws {
    let value = try JSON.parse("{\"é\": 1, \"e\u{301}\": 2}", place: "test")
    #expect(value["é"] == .integer(1))
    #expect(value["e\u{301}"] == .integer(2))
    #expect(JSON.string("é") != .string("e\u{301}"))
  }

  @Test("large objects keep their order and find members by key")
  func largeObjects() throws {
    let keys = (0..<5000).map { "k\($0 * 7919 % 5000)" }
    let text = "{" + keys.enumerated().map { "\"\($1)\": \($0)" }.joined(separator: ",") + "}"
    let object = try #require(try JSON.parse(text, place: "test").object)
    #expect(object.keys == keys)
    #expect(keys.enumerated().allSatisfy { object[$1] == .integer($0) })
    #expect(object["k5000"] == nil)
  }

  @Test("of duplicate keys the last wins, or they are refused")
  func duplicates() throws {
    let text = [UInt8](#"{"a": 1, "b": 2, "a": 3}"#.utf8)
    #expect(try JSON.parse(text, place: "test").serialised() == #"{"a": 3, "b": 2}"#)
    #expect(throws: LimnError.self) { try JSON.parse(text, place: "test", duplicates: .reject) }
  }

  @Test("unpaired surrogates become U+FFFD, and are refused in strict mode")
  func surrogates() throws {
    for text in [#""\ud800""#, #""\udc00x""#, #""\ud800\u0041""#] {
      #expect(try JSON.parse(text, place: "test").string?.unicodeScalars.contains("\u{FFFD}") == true)
      #expect(throws: LimnError.self) { try JSON.parse([UInt8](text.utf8), place: "test", lenient: false) }
    }
    #expect(throws: LimnError.self) { try JSON.parse(Array("NaN".utf8), place: "test", lenient: false) }
  }

  @Test("invalid UTF-8 is refused, in strings with and without escapes")
  func invalidUTF8() {
    for bytes: [UInt8] in [
      [0x22, 0xFF, 0x22], [0x22, 0x5C, 0x6E, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
    ] {
      #expect(throws: LimnError.self) { try JSON.parse(bytes, place: "test") }
    }
  }

  @Test("nesting is accepted up to a depth of 128")
  func depth() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    _ = try JSON.parse(nested(128), place: "test")
    #expect(throws: LimnError.self) { try JSON.parse(nested(129), place: "test") }
    #expect(throws: LimnError.self) {
      try JSON.parse(String(repeating: "[", count: 1_000_000), place: "test")
    }
  }

  @Test("a byte order mark before the text is skipped")
  func byteOrderMark() throws {
    #expect(try JSON.parse([0xEF, 0xBB, 0xBF, 0x31], place: "test") == .integer(1))
  }
}
