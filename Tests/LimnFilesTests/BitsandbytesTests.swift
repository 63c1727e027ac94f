import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

/// The arrays that Tools/fixtures/bnb.py wrote: matrices, their quantised form from the bitsandbytes package,
/// and its values.
private enum Arrays {
  static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/Bitsandbytes/model.safetensors").path

  static func tensors() throws -> [String: Tensor] {
    Dictionary(try RawWeights.open(ModelLocation(file)).tensors.map { ($0.name, $0.tensor) }) { $1 }
  }

  static let matrices = ["aligned", "ragged", "plain"]

  /// A file with some of the tensors, some of them replaced.
  static func file(
    _ keep: (String) -> Bool, replacing: [String: (type: String, shape: [Int], bytes: [UInt8])] = [:]
  ) throws -> [UInt8] {
    var header = JSONObject()
    var data: [UInt8] = []
    func add(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
      header.set(
        name,
        to: .object([
          "dtype": .string(type), "shape": .array(shape.map(JSON.integer)),
          "data_offsets": .array([.integer(data.count), .integer(data.count + bytes.count)]),
        ]))
      data += bytes
    }
    for (name, tensor) in try tensors().sorted(by: { $0.key < $1.key })
    where keep(name) && replacing[name] == nil {
      add(name, tensor.type.rawValue, tensor.shape, Array(tensor.bytes))
    }
    for (name, new) in replacing { add(name, new.type, new.shape, new.bytes) }
    let text = Array(JSON.object(header).serialised().utf8)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text + data
  }

  static func refusal(of name: String, in bytes: [UInt8]) throws -> LimnError? {
    try Fixtures.with(bytes, as: "model.safetensors") { path in
      let weights = try RawWeights.open(ModelLocation(path))
      let entry = try #require(weights.tensors.first { $0.name == name })
      return #expect(throws: LimnError.self) { try weights.weight(of: entry) }
    }
  }
}

@Suite("bitsandbytes") struct BitsandbytesTests {
  @Test("stored weights of every type have the package's values, bit for bit")
  func values() throws {
    let cpu = try CPU(threads: 2)
    let weights = try RawWeights.open(ModelLocation(Arrays.file))
    let tensors = try Arrays.tensors()
    let names = tensors.keys.filter { $0.hasPrefix("values.") }
    #expect(names.count == 15)
    for name in names {
      let weight = name.dropFirst("values.".count) + ".weight"
      let entry = try #require(weights.tensors.first { $0.name == weight })
      let tensor = try weights.weight(of: entry).resolved(on: cpu)
      let expected = tensors[name]!
      #expect(tensor.shape == expected.shape)
      #expect(try dequantized(tensor) == dequantized(expected), "\(weight)")
    }
  }

  @Test("quantising gives the package's codes and scales, including nested ones", arguments: Arrays.matrices)
  func quantising(matrix: String) throws {
    let cpu = try CPU(threads: 2)
    let tensors = try Arrays.tensors()
    let source = tensors["source.\(matrix)"]!
    for code in [FourBitWeight.Code.nf4, .fp4] {
      for double in [false, true] {
        let name = "\(code.rawValue)\(double ? ".double" : "").\(matrix).weight"
        let weight = try FourBitWeight(quantizing: source, as: code, doubleQuantization: double, on: cpu)
        #expect(Array(weight.codes.bytes) == Array(tensors[name]!.bytes), "\(name)")
        switch weight.scales {
        case .plain(let absmax):
          let expected = try dequantized(tensors[name + ".absmax"]!)
          #expect(try !double && dequantized(absmax) == expected, "\(name)")
        case .nested(let codes, let map, let absmax, _, let offset):
          #expect(double && Array(codes.bytes) == Array(tensors[name + ".absmax"]!.bytes), "\(name)")
          #expect(map == (try dequantized(tensors[name + ".nested_quant_map"]!)))
          #expect(absmax == (try dequantized(tensors[name + ".nested_absmax"]!)))
          let state = try JSON.parse(
            String(
              decoding: tensors["\(name).quant_state.bitsandbytes__\(code.rawValue)"]!.bytes, as: UTF8.self),
            place: name)
          #expect(offset == Float(state["nested_offset"]?.double ?? .nan))
        }
      }
    }
    let bytes = try Int8Weight(quantizing: source, on: cpu)
    #expect(Array(bytes.codes.bytes) == Array(tensors["int8.\(matrix).weight"]!.bytes))
    #expect(try bytes.absmax == dequantized(tensors["int8.\(matrix).SCB"]!))
  }

  @Test("a weight whose companions are missing or contradictory is refused by name, with a remedy")
  func companions() throws {
    let name = "nf4.double.plain.weight", int8 = "int8.plain.weight"
    for missing in [".absmax", ".nested_absmax", ".nested_quant_map", ".quant_state.bitsandbytes__nf4"] {
      let error = try Arrays.refusal(of: name, in: Arrays.file { $0.hasPrefix(name) && $0 != name + missing })
      #expect(error?.kind == .badData && error?.description.contains(name + missing) == true)
      #expect(error?.remedy?.description.contains("save") == true)
    }
    let error = try Arrays.refusal(
      of: int8, in: Arrays.file { $0.hasPrefix("int8.plain") && !$0.hasSuffix("SCB") })
    #expect(error?.description.contains("SCB") == true)
    let state = name + ".quant_state.bitsandbytes__nf4"
    func with(_ key: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) throws -> LimnError? {
      try Arrays.refusal(
        of: key.hasPrefix("int8") ? int8 : name,
        in: Arrays.file(
          { $0.hasPrefix(name) || $0.hasPrefix("int8.plain") }, replacing: [key: (type, shape, bytes)]))
    }
    for text in [
      #"{"quant_type": "fp4", "blocksize": 64, "dtype": "float32", "shape": [20, 128]}"#,
      #"{"quant_type": "nf4", "blocksize": 0, "dtype": "float32", "shape": [20, 128]}"#,
      #"{"quant_type": "nf4", "blocksize": 64, "dtype": "int8", "shape": [20, 128]}"#,
      #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [20, 129]}"#,
      #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4611686018427387904, 4]}"#,
      #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [20, 128]}"#,
      "not JSON",
    ] {
      let bytes = Array(text.utf8)
      #expect(try with(state, "U8", [bytes.count], bytes)?.kind == .badData, "\(text)")
    }
    #expect(try with(name + ".absmax", "U8", [3], [1, 2, 3])?.description.contains("scales") == true)
    #expect(
      try with(name + ".quant_state.bitsandbytes__fp4", "U8", [2], Array("{}".utf8))?.description.contains(
        "two ways") == true)
    #expect(
      try with("int8.plain.weight_format", "U8", [], [1])?.description.contains("weight_format") == true)
    #expect(try with("int8.plain.SCB", "F32", [1], [0, 0, 0, 0])?.description.contains("SCB") == true)
  }
}
