import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite("safetensors") struct SafetensorsTests {
  @Test("tensors of every type are read as by the library")
  func tensors() throws {
    let file = try Safetensors(path: Fixtures.path("types.safetensors"))
    let expected = try #require(try Fixtures.json("safetensors.json").array).map(Listed.init)
    #expect(
      file.tensors.map(Listed.init).sorted { $0.name < $1.name } == expected.sorted { $0.name < $1.name })
    #expect(file.metadata == ["format": "pt", "ключ": "значение"])
  }

  /// Headers and data, with the result of the safetensors library 0.8 for each (it accepts duplicate names).
  static let headers: [(String, data: Int, good: Bool)] = [
    ("{}", 0, true),
    ("  {}  ", 0, true),
    (#"{"__metadata__":null}"#, 0, true),
    (#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4, true),
    (
      #"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}"#,
      0, true
    ),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":3}}"#, 1, true),
    (
      #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
      2, true
    ),
    (#"{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#, 2, true),
    (#"{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}"#, 3, true),
    ("[]", 0, false),
    ("", 0, false),
    ("{}\u{0}", 0, false),
    ("\u{FEFF}{}", 0, false),
    (#"{"__metadata__":{"a":1}}"#, 0, false),
    (#"{"__metadata__":[]}"#, 0, false),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2, false),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 2, false),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 1, false),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
      3, false
    ),
    (#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2, false),
    (#"{"a":{"dtype":"Q4_0","shape":[32],"data_offsets":[0,18]}}"#, 18, false),
    (#"{"a":{"dtype":"C128","shape":[1],"data_offsets":[0,16]}}"#, 16, false),
    (#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0, false),
    (#"{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}"#, 0, false),
    (#"{"a":{"dtype":"U8","shape":[9223372036854775807,3,0],"data_offsets":[0,0]}}"#, 0, false),
    (#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#, 1, false),
    (#"{"a":{"dtype":"U8","shape":[1]}}"#, 1, false),
    (#"{"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, false),
    (
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
      1, false
    ),
  ]

  @Test("headers are accepted and refused as by the library", arguments: headers.indices)
  func verdicts(index: Int) throws {
    let (header, data, good) = Self.headers[index]
    var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian, Array.init)
    bytes += Array(header.utf8) + [UInt8](repeating: 0, count: data)
    try Fixtures.with(bytes, as: "x.safetensors") { path in
      if good {
        _ = try Safetensors(path: path)
      } else {
        #expect(throws: LimnError.self, "\(header)") { try Safetensors(path: path) }
      }
    }
  }

  @Test("a header length beyond the file or the limit is refused")
  func headerLength() throws {
    for length: UInt64 in [1, 100_000_001, .max] {
      _ = try Fixtures.with(withUnsafeBytes(of: length.littleEndian, Array.init), as: "x.safetensors") { path in
        #expect(throws: LimnError.self) { try Safetensors(path: path) }
      }
    }
  }

  @Test("a truncated or damaged file never crashes the reader; a truncated one is refused")
  func damage() throws {
    let bytes = try Fixtures.bytes("types.safetensors")
    let (cut, refused) = try survivesDamage(bytes, as: "x.safetensors", flips: 3000) {
      try Safetensors(path: $0).tensors
    }
    #expect(cut.isEmpty)
    #expect(refused > 300)
  }
}
