package import LimnCore
import LimnTensor

/// A safetensors file, mapped: nothing is copied.
///
///     header length u64  header (JSON)  data
///     header: {"NAME": {"dtype": "F32", "shape": […], "data_offsets": [begin, end]}, …, "__metadata__": {…}}
///
/// Whatever the safetensors library refuses is refused here, and so is a name that occurs twice.
package struct Safetensors: Sendable {
  package let path: String
  /// Notes that the writer stored about the file: pairs of strings.
  package let metadata: [String: String]
  /// In the order of their data.
  package let tensors: [NamedTensor]

  private static let longestHeader = 100_000_000

  /// Opens a file: maps it and reads its header.
  package init(path: String) throws(LimnError) {
    let memory = try Memory(mapping: path)
    var reader = ByteReader(memory.bytes, place: path)
    try self.init(memory, &reader, path: path)
  }

  /// Reads the header of a file that need not be on this machine.
  /// - Parameters:
  ///   - beginning: the file's first bytes.
  ///   - fileSize: the size of the whole file, as reported by whoever stores it.
  ///   - path: for error messages.
  /// - Throws: the error that opening the whole file would throw, if these bytes already show it.
  package static func read(
    _ beginning: some Collection<UInt8>, fileSize: Int, path: String
  ) throws(LimnError) -> HeaderReading<Safetensors> {
    let memory = Memory(beginning: beginning, size: max(0, min(fileSize, largestFile)), path: path)
    var reader = ByteReader(memory.bytes, place: path, size: memory.size)
    do throws(LimnError) {
      return .whole(try Safetensors(memory, &reader, path: path))
    } catch {
      if let needed = reader.needed { return .cut(needed: needed) }
      throw error
    }
  }

  private init(_ memory: Memory, _ reader: inout ByteReader, path: String) throws(LimnError) {
    let length: UInt64 = try reader.integer("the header's length")
    guard length <= Self.longestHeader else {
      throw LimnError.badData(
        "this is no safetensors file: its header would be too long", in: path,
        expected: "at most \(Self.longestHeader) bytes", found: "\(length)")
    }
    let headerRange = try reader.take(Int(length), "the header")
    let header = try JSON.parse(
      UnsafeRawBufferPointer(rebasing: memory.bytes[headerRange]), place: "\(path), header",
      duplicates: .reject,
      lenient: false)
    guard let entries = header.object else {
      throw LimnError.badData("the header is wrong", in: path, expected: "an object", found: header.kind)
    }
    self.path = path
    var metadata: [String: String] = [:]
    var infos: [Info] = []
    for (name, value) in entries.members {
      if name == "__metadata__" {
        metadata = try Self.metadata(value, path: path)
      } else {
        infos.append(try Info(name: name, value: value, path: path))
      }
    }
    self.metadata = metadata
    infos.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
    tensors = try Self.placed(infos, in: memory, after: headerRange.upperBound, path: path)
  }

  /// Places the tensors in the data, which they must cover without gaps or overlaps.
  private static func placed(
    _ infos: [Info], in memory: Memory, after start: Int, path: String
  ) throws(LimnError) -> [NamedTensor] {
    let available = memory.size - start
    var tensors: [NamedTensor] = []
    tensors.reserveCapacity(infos.count)
    var end = 0
    for info in infos {
      guard info.begin == end else {
        throw LimnError.badData(
          "the data of \(info.name) does not follow the tensor before", in: path, expected: "offset \(end)",
          found: "\(info.begin)")
      }
      guard info.end <= available else {
        throw LimnError.badData(
          "the file ends inside the data of \(info.name)", in: path, expected: "\(info.end) bytes of data",
          found: "\(available)", remedy: "fetch the file again if its download was cut")
      }
      let range = start + info.begin..<start + info.end
      let tensor = Tensor(type: info.type, shape: info.shape, memory: memory, range: range)
      tensors.append(NamedTensor(name: info.name, tensor: tensor))
      end = info.end
    }
    guard end == available else {
      throw LimnError.badData(
        "the data is longer than its tensors", in: path, expected: "\(end) bytes", found: "\(available)")
    }
    return tensors
  }

  private static func metadata(_ value: JSON, path: String) throws(LimnError) -> [String: String] {
    if value.isNull { return [:] }
    func wrong(_ found: JSON) -> LimnError {
      .badData("__metadata__ is wrong", in: path, expected: "strings by name", found: found.kind)
    }
    guard let entries = value.object else { throw wrong(value) }
    var result: [String: String] = [:]
    for (key, value) in entries.members {
      guard let text = value.string else { throw wrong(value) }
      result[key] = text
    }
    return result
  }
}

/// One entry of the header, whose numbers are consistent with each other.
private struct Info {
  let name: String
  let type: TensorType
  let shape: [Int]
  let begin: Int
  let end: Int

  init(name: String, value: JSON, path: String) throws(LimnError) {
    let place = "\(path), tensor \(name)"
    guard let dtype = value["dtype"]?.string else {
      throw LimnError.badData("the dtype is missing", in: place)
    }
    guard let type = TensorType(safetensors: dtype) else {
      throw LimnError.badData("the dtype \"\(dtype)\" is unknown", in: place)
    }
    let shape = try Self.sizes(value["shape"], "shape", place)
    let offsets = try Self.sizes(value["data_offsets"], "data_offsets", place)
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw LimnError.badData("data_offsets is wrong", in: place, expected: "begin and end")
    }
    guard let elements = elementCount(of: shape) else {
      throw LimnError.badData("the shape is too large", in: place)
    }
    guard type.byteCount(elements: elements) == offsets[1] - offsets[0] else {
      throw LimnError.badData(
        "shape and size disagree", in: place,
        expected: type.byteCount(elements: elements).map { "\($0) bytes for \(dtype) \(shape)" },
        found: "\(offsets[1] - offsets[0])")
    }
    self.name = name
    self.type = type
    self.shape = shape
    begin = offsets[0]
    end = offsets[1]
  }

  private static func sizes(_ value: JSON?, _ what: String, _ place: String) throws(LimnError) -> [Int] {
    guard let items = value?.array else {
      throw LimnError.badData(
        "\(what) is wrong", in: place, expected: "an array", found: value?.kind ?? "none")
    }
    var result: [Int] = []
    for item in items {
      guard let size = item.int, size >= 0 else {
        throw LimnError.badData(
          "\(what) is wrong", in: place, expected: "integers, none negative", found: item.serialised())
      }
      result.append(size)
    }
    return result
  }
}

extension TensorType {
  /// The type that the format spells this way; GGML's block types do not exist in it.
  init?(safetensors name: String) {
    guard let type = TensorType(rawValue: name) else { return nil }
    switch type {
    case .f64, .f32, .f16, .bf16, .i64, .i32, .i16, .i8, .u64, .u32, .u16, .u8, .bool, .c64, .f8_E4M3,
      .f8_E5M2,
      .f8_E8M0, .f8_E4M3FNUZ, .f8_E5M2FNUZ, .f6_E2M3, .f6_E3M2, .f4:
      self = type
    default: return nil
    }
  }
}
