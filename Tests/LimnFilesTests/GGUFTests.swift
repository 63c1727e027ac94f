import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite("GGUF") struct GGUFTests {
  @Test(
    "tensors of every type are read as by gguf-py",
    arguments: ["v3.gguf", "v2.gguf", "align128.gguf", "align4.gguf"])
  func tensors(name: String) throws {
    let expected = try #require(try Fixtures.json("gguf.json")["tensors"]?.array).map(Listed.init)
    #expect(try GGUF(path: Fixtures.path(name)).tensors.map(Listed.init) == expected)
  }

  @Test("metadata of every type is read as by gguf-py")
  func metadata() throws {
    let file = try GGUF(path: Fixtures.path("v3.gguf"))
    let expected = try #require(try Fixtures.json("gguf.json")["metadata"]?.object)
    #expect(file.metadata.map(\.key) == expected.keys)
    for (key, value) in expected.members {
      let found = try #require(file[key])
      switch value {
      case .string(let text): #expect(found.string == text)
      case .bool(let flag): #expect(found.bool == flag)
      case .integer(let number): #expect(found.int == number)
      case .number(let number): #expect(found.double == number)
      case .array(let items) where key == "strings":
        #expect(JSON.array((found.strings ?? []).map(JSON.string)) == .array(items))
      case .array(let items) where key == "floats":
        #expect(found.floats?.map(Double.init) == items.compactMap(\.double))
        #expect(found.doubles == items.compactMap(\.double))
      case .array(let items) where key == "ints": #expect(found.ints == items.compactMap(\.int))
      case .array: #expect(found.isArray && found.type == .bool && found.arrayCount == 2)
      default: Issue.record("\(key)")
      }
    }
    #expect(file["u32"]?.string == nil && file["string"]?.int == nil && file["u32"]?.ints == nil)
    #expect(file.architecture == "test" && file.version == 3)
  }

  /// Bytes to replace, their replacement, and what the error must mention.
  static let damages: [(String, from: [UInt8], to: [UInt8], says: String)] = [
    ("magic", Array("GGUF".utf8), Array("GGML".utf8), "GGUF"),
    ("version 1", [71, 71, 85, 70, 3, 0, 0, 0], [71, 71, 85, 70, 1, 0, 0, 0], "version"),
    ("version 4", [71, 71, 85, 70, 3, 0, 0, 0], [71, 71, 85, 70, 4, 0, 0, 0], "version"),
    ("big-endian", [71, 71, 85, 70, 3, 0, 0, 0], [71, 71, 85, 70, 0, 0, 0, 3], "big-endian"),
    ("a key twice", key("u16"), key("u32"), "second time"),
    ("a key that is not UTF-8", key("u16"), [3, 0, 0, 0, 0, 0, 0, 0, 0x75, 0xC3, 0x28], "UTF-8"),
    ("a tensor twice", name("i16"), name("i32"), "second time"),
    ("a tensor's name that is not UTF-8", name("i16"), [3, 0, 0, 0, 0, 0, 0, 0, 0x69, 0xFF, 0x36], "UTF-8"),
    ("an unknown value type", key("u16") + [2, 0, 0, 0], key("u16") + [13, 0, 0, 0], "unknown type"),
    ("an array of arrays", key("ints") + [9, 0, 0, 0, 5], key("ints") + [9, 0, 0, 0, 9], "arrays inside"),
    ("too many axes", name("one") + [1], name("one") + [5], "axes"),
    (
      "a negative size", name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
      name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x80], "negative"
    ),
    (
      "a size that wraps", name("f64") + [2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
      name("f64") + [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 4, 0, 0, 0, 0, 0, 0, 0], "too large"
    ),
    (
      "a removed type", name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
      name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 4], "unknown type"
    ),
    (
      "rows that fill no blocks", name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
      name("one") + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2], "blocks"
    ),
    (
      "another size than the next offset says", name("one") + [1, 0, 0, 0, 7],
      name("one") + [1, 0, 0, 0, 99], "follow"
    ),
    (
      "a string longer than the file", key("string") + [8, 0, 0, 0],
      key("string") + [8, 0, 0, 0, 255, 255, 255, 255, 255],
      "more than the file"
    ),
    (
      "an alignment that is no power of two", key("general.alignment") + [4, 0, 0, 0, 128],
      key("general.alignment") + [4, 0, 0, 0, 127], "alignment"
    ),
    (
      "an alignment of another type", key("general.alignment") + [4, 0, 0, 0, 128],
      key("general.alignment") + [5, 0, 0, 0, 128], "alignment"
    ),
    (
      "a number of tensors beyond all bounds", [71, 71, 85, 70, 3, 0, 0, 0],
      [71, 71, 85, 70, 3, 0, 0, 0, 255, 255, 255, 255, 255, 255],
      "number of tensors"
    ),
  ]

  private static func key(_ text: String) -> [UInt8] {
    [UInt8(text.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(text.utf8)
  }
  /// A tensor's name, which looks like a key but is followed by a number of axes.
  private static func name(_ text: String) -> [UInt8] { key(text) }

  @Test("files that ggml's reader refuses are refused", arguments: damages.indices)
  func refusals(index: Int) throws {
    let damage = Self.damages[index]
    let file = damage.0.contains("alignment") ? "align128.gguf" : "v3.gguf"
    let bytes = try Fixtures.bytes(file)
    // Tensor names come after the metadata: the last match is the tensor's, the first the key's.
    let places = bytes.indices.filter { bytes[$0...].starts(with: damage.from) }
    let place = try #require(
      damage.0.contains("tensor") || damage.0.contains("size") ? places.last : places.first)
    var damaged = bytes
    damaged.replaceSubrange(place..<place + damage.to.count, with: damage.to)
    try Fixtures.with(damaged, as: "x.gguf") { path in
      let error = #expect(throws: LimnError.self, "\(damage.0)") { try GGUF(path: path) }
      #expect(error?.description.contains(damage.says) == true, "\(damage.0): \(error?.description ?? "")")
    }
  }

  @Test("a truncated or damaged file never crashes the reader; a truncated one is refused")
  func damage() throws {
    let bytes = try Fixtures.bytes("v3.gguf")
    let padding = 32
    let (cut, refused) = try survivesDamage(bytes, as: "x.gguf", flips: 3000) { try GGUF(path: $0).tensors }
    // Only the padding after the last tensor may be missing.
    #expect(cut.allSatisfy { $0 > bytes.count - padding })
    #expect(refused > 300)
  }
}
