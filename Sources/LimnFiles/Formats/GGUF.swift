package import LimnCore
import LimnTensor

/// A GGUF file, versions 2 and 3, little-endian, mapped: nothing is copied.
///
///     "GGUF"  version u32  tensors i64  pairs i64
///     pairs × (key string, type u32, value)              string: length u64, bytes
///     tensors × (name string, axes u32, axis i64 …, type u32, offset u64)
///     padding to `general.alignment`, then the data; each tensor's begins at a multiple of it
///
/// Whatever ggml's own reader refuses is refused here.
package struct GGUF: Sendable {
  package let path: String
  /// All files of the model, this one first: more than one where it is split.
  package private(set) var files: [String]
  package let version: Int
  /// In file order.
  package let metadata: [(key: String, value: GGUFValue)]
  /// In file order; shapes begin with the outermost axis, the reverse of how the file writes them.
  package private(set) var tensors: [NamedTensor]
  private let places: [ExactString: Int]

  package subscript(_ key: String) -> GGUFValue? { places[ExactString(key)].map { metadata[$0].value } }

  /// `general.architecture`: "llama", "phi3", "clip", …
  package var architecture: String? { self["general.architecture"]?.string }

  /// Opens a model: maps its file and reads the header. The first of several files opens all of them.
  package init(path: String) throws(LimnError) {
    try self.init(shard: path)
    try addShards()
  }

  /// Opens a single file, which may be one of several.
  init(shard path: String) throws(LimnError) {
    var header = GGUFHeader(memory: try Memory(mapping: path), path: path)
    try header.read()
    self.init(header)
  }

  mutating func append(_ other: GGUF) {
    files.append(other.path)
    tensors += other.tensors
  }

  /// Whether a file begins as GGUF files do, whatever its name.
  static func begins(_ path: String) -> Bool {
    guard let memory = try? Memory(mapping: path) else { return false }
    return withExtendedLifetime(memory) { memory.bytes.prefix(4).elementsEqual("GGUF".utf8) }
  }

  /// Reads the header of a file that need not be on this machine.
  /// - Parameters:
  ///   - beginning: the file's first bytes.
  ///   - fileSize: the size of the whole file, as reported by whoever stores it.
  ///   - path: for error messages.
  /// - Throws: the error that opening the whole file would throw, if these bytes already show it.
  package static func read(
    _ beginning: some Collection<UInt8>, fileSize: Int, path: String
  ) throws(LimnError) -> HeaderReading<GGUF> {
    let memory = Memory(beginning: beginning, size: max(0, min(fileSize, largestFile)), path: path)
    var header = GGUFHeader(memory: memory, path: path)
    do throws(LimnError) {
      try header.read()
      return .whole(GGUF(header))
    } catch {
      if let needed = header.reader.needed { return .cut(needed: needed) }
      throw error
    }
  }

  /// Reads `general.architecture` from a file, and no more of the header than that takes; nil: there is none.
  static func architecture(ofFile path: String) throws(LimnError) -> String? {
    var header = GGUFHeader(memory: try Memory(mapping: path), path: path)
    let (_, pairs) = try header.counts()
    for _ in 0..<pairs {
      try header.pair()
      if let last = header.metadata.last, last.key == "general.architecture" { return last.value.string }
    }
    return nil
  }

  private init(_ header: GGUFHeader) {
    path = header.path
    files = [header.path]
    version = header.version
    metadata = header.metadata
    tensors = header.tensors
    places = header.places
  }
}

/// Reads a header from front to back.
private struct GGUFHeader {
  let memory: Memory
  let path: String
  var reader: ByteReader
  var version = 0
  var metadata: [(key: String, value: GGUFValue)] = []
  var places: [ExactString: Int] = [:]
  var alignment = 32
  var tensors: [NamedTensor] = []

  /// ggml's limits.
  static let longestName = 63
  static let maxAxes = 4
  static let longestString = 1 << 30
  static let maxElements = 1 << 30

  init(memory: Memory, path: String) {
    self.memory = memory
    self.path = path
    reader = ByteReader(memory.bytes, place: path, size: memory.size)
  }

  mutating func read() throws(LimnError) {
    let (tensorCount, pairCount) = try counts()
    for _ in 0..<pairCount { try pair() }
    try findAlignment()
    try tensorInfos(tensorCount)
  }

  /// The beginning of the file: the number of tensors and of key-value pairs.
  mutating func counts() throws(LimnError) -> (tensors: Int, pairs: Int) {
    let magic = try reader.take(4, "the magic")
    guard memory.bytes[magic].elementsEqual("GGUF".utf8) else {
      throw reader.error("this is no GGUF file: it does not begin with \"GGUF\"", at: 0)
    }
    let number: UInt32 = try reader.integer("the version")
    guard number & 0xFFFF != 0 || number == 0 else {
      throw reader.error("a big-endian GGUF file, which limn does not read", at: 4)
    }
    guard number == 2 || number == 3 else {
      throw LimnError.badData(
        "a GGUF version that limn does not read", in: path, expected: "2 or 3", found: "\(number)",
        remedy: "convert the model again with a current llama.cpp")
    }
    version = Int(number)
    // A tensor takes at least 24 bytes here, a pair 13.
    let tensors = try reader.count(each: 24, "number of tensors")
    return (tensors, try reader.count(each: 13, "number of metadata pairs"))
  }

  // MARK: Metadata

  mutating func pair() throws(LimnError) {
    let start = reader.position
    let key = try name("a key")
    guard !key.isEmpty else { throw reader.error("an empty key", at: start) }
    guard places.updateValue(metadata.count, forKey: ExactString(key)) == nil else {
      throw reader.error("the key \"\(key)\" stands here a second time", at: start)
    }
    let type = try valueType(of: key)
    if type == .array {
      let type = try valueType(of: key)
      guard type != .array else { throw reader.error("arrays inside the array \"\(key)\"") }
      let count = try reader.count(each: type.size ?? 8, "length of the array \"\(key)\"")
      guard count <= Self.maxElements else { throw reader.error("the array \"\(key)\" is too long") }
      try value(key, type, arrayCount: count)
    } else {
      try value(key, type, arrayCount: nil)
    }
  }

  private mutating func value(_ key: String, _ type: GGUFType, arrayCount: Int?) throws(LimnError) {
    let start = reader.position
    let count = arrayCount ?? 1
    if let size = type.size {
      _ = try reader.take(count * size, "the value of \"\(key)\"")
    } else {
      for _ in 0..<count { _ = try string("the value of \"\(key)\"") }
    }
    let range = start..<reader.position
    metadata.append((key, GGUFValue(type: type, arrayCount: arrayCount, memory: memory, range: range)))
  }

  private mutating func valueType(of key: String) throws(LimnError) -> GGUFType {
    let number: UInt32 = try reader.integer("the type of \"\(key)\"")
    guard let type = GGUFType(rawValue: number) else {
      throw reader.error("the value of \"\(key)\" has the unknown type \(number)", at: reader.position - 4)
    }
    return type
  }

  private mutating func findAlignment() throws(LimnError) {
    guard let place = places[ExactString("general.alignment")] else { return }
    let value = metadata[place].value
    guard value.type == .u32, let number = value.int, number > 0, number & (number - 1) == 0 else {
      throw LimnError.badData(
        "general.alignment is not right", in: path, expected: "a power of two as u32",
        found: value.int.map(String.init) ?? "another type")
    }
    alignment = number
  }

  // MARK: Tensors

  private struct Info {
    let name: String
    let type: TensorType
    let shape: [Int]
    let bytes: Int
    let offset: UInt64
  }

  private mutating func tensorInfos(_ count: Int) throws(LimnError) {
    var names: Set<ExactString> = []
    var infos: [Info] = []
    infos.reserveCapacity(count)
    for _ in 0..<count {
      let start = reader.position
      let info = try tensorInfo()
      guard names.insert(ExactString(info.name)).inserted else {
        throw reader.error("the tensor \"\(info.name)\" stands here a second time", at: start)
      }
      infos.append(info)
    }
    guard !infos.isEmpty else { return }
    // The alignment is at most 2³¹ and positions are below `largestFile`, so this cannot overflow.
    let dataStart = padded(reader.position)
    var offset = 0
    tensors.reserveCapacity(count)
    for info in infos {
      guard info.offset == UInt64(offset) else {
        throw LimnError.badData(
          "the data of \(info.name) does not follow the tensor before", in: path,
          expected: "offset \(offset)",
          found: "\(info.offset)")
      }
      let available = memory.size - dataStart - offset
      guard info.bytes <= available else {
        throw LimnError.badData(
          "the file ends inside the data of \(info.name)", in: path, expected: "\(info.bytes) bytes",
          found: "\(max(0, available))", remedy: "fetch the file again if its download was cut")
      }
      let range = dataStart + offset..<dataStart + offset + info.bytes
      let tensor = Tensor(type: info.type, shape: info.shape, memory: memory, range: range)
      tensors.append(NamedTensor(name: info.name, tensor: tensor))
      offset = padded(offset + info.bytes)
    }
  }

  private mutating func tensorInfo() throws(LimnError) -> Info {
    let start = reader.position
    let name = try name("a tensor's name")
    guard name.utf8.count <= Self.longestName else {
      throw reader.error("a tensor's name of \(name.utf8.count) bytes; at most 63 are allowed", at: start)
    }
    let axes: UInt32 = try reader.integer("the number of axes of \(name)")
    guard axes <= Self.maxAxes else { throw reader.error("\(name) has \(axes) axes; at most 4 are allowed") }
    var shape: [Int] = []
    for _ in 0..<axes {
      let size: Int64 = try reader.integer("the shape of \(name)")
      guard size >= 0 else { throw reader.error("\(name) has a negative size", at: reader.position - 8) }
      shape.insert(Int(size), at: 0)
    }
    let number: UInt32 = try reader.integer("the type of \(name)")
    guard let type = TensorType(ggml: number) else {
      throw reader.error("\(name) has the unknown type \(number)", at: reader.position - 4)
    }
    guard (shape.last ?? 1) % type.layout.elements == 0 else {
      throw LimnError.badData(
        "the rows of \(name) do not fill whole \(type.rawValue) blocks", in: path,
        expected: "a multiple of \(type.layout.elements)", found: "\(shape.last ?? 1)")
    }
    guard let bytes = elementCount(of: shape).flatMap(type.byteCount) else {
      throw reader.error("\(name) has a shape too large")
    }
    let offset: UInt64 = try reader.integer("the offset of \(name)")
    return Info(name: name, type: type, shape: shape, bytes: bytes, offset: offset)
  }

  /// Rounds up to a multiple of the alignment.
  private func padded(_ position: Int) -> Int { (position + alignment - 1) & ~(alignment - 1) }

  // MARK: Strings

  private mutating func string(_ what: @autoclosure () -> String) throws(LimnError) -> Range<Int> {
    let length = try reader.count("length of \(what())")
    guard length <= Self.longestString else { throw reader.error("\(what()) is too long") }
    return try reader.take(length, what())
  }

  /// A key or a tensor's name, which must be UTF-8.
  private mutating func name(_ what: String) throws(LimnError) -> String {
    let range = try string(what)
    guard let name = String(validating: memory.bytes[range], as: UTF8.self) else {
      throw reader.error("\(what) is not UTF-8", at: range.lowerBound)
    }
    return name
  }
}

extension TensorType {
  private static let ggmlTypes = Dictionary(
    uniqueKeysWithValues: allCases.compactMap { type in type.ggml.map { ($0, type) } })

  /// The type for ggml's number; nil for an unknown number or a type that ggml has dropped.
  init?(ggml number: UInt32) {
    guard let type = Self.ggmlTypes[number] else { return nil }
    self = type
  }
}
