import LimnCore
import LimnTensor

/// The form that `torch.save` wrote before PyTorch 1.6, and still writes on request:
///
///     pickles   the magic number; the protocol's version, 1001; what machine wrote it; the tensors' descriptions;
///               the storages' keys, in the order in which they follow
///     storages  for each its number of elements (i64) and these, raw
struct LegacyTorchFile {
  let tensors: [NamedTensor]

  private static let version = 1001
  /// 0x1950a86a20f9469cfc6c as a pickle spells it, up to its end; the bytes before it depend on the pickle protocol.
  private static let magic: [UInt8] = [
    0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, UInt8(ascii: "."),
  ]

  /// The position of the pickle after the magic number; nil: the file does not have this form.
  static func start(of bytes: UnsafeRawBufferPointer) -> Int? {
    // Protocol 2 puts two bytes before the number, protocol 4 a frame header as well.
    for lead in [2, 11] where bytes.count >= lead + magic.count && bytes[0] == 0x80 {
      if bytes[lead..<lead + magic.count].elementsEqual(magic) { return lead + magic.count }
    }
    return nil
  }

  /// - Parameter start: the position after the magic number.
  init(_ memory: Memory, from start: Int, path: String) throws(LimnError) {
    var position = start
    guard try Self.plain(memory, &position, path).value == .int(Self.version) else {
      throw LimnError.badData("an unknown version of PyTorch's format", in: path, expected: "\(Self.version)")
    }
    let (system, described) = try Self.plain(memory, &position, path)
    guard case .dict(let fields) = system else {
      throw LimnError.badData("the file does not say what machine wrote it", in: path)
    }
    guard !described.dicts[fields].contains(where: { $0.key == .string("little_endian") && $0.value != .bool(true) })
    else { throw LimnError.badData("weights in big-endian order, which limn does not read", in: path) }

    var machine = try Self.machine(memory, position, path)
    var pickle = TorchPickle()
    let result = try machine.run(&pickle)
    position += machine.reader.position
    let stateDict = try pickle.stateDict(result, machine)

    let (keys, listed) = try Self.plain(memory, &position, path)
    guard case .sequence(let list) = keys else {
      throw LimnError.badData("the file does not list its storages", in: path)
    }
    let places = try Self.places(
      of: listed.sequences[list], pickle.storages, ByteReader(memory.bytes, place: path, at: position))
    tensors = try stateDict.tensors(in: memory, at: places, path: path)
  }

  /// A machine for the pickle that begins at `position`; the file does not record its length.
  private static func machine(_ memory: Memory, _ position: Int, _ path: String) throws(LimnError)
    -> PickleMachine
  {
    let end = min(memory.bytes.count, position + PickleMachine.longest)
    return try PickleMachine(UnsafeRawBufferPointer(rebasing: memory.bytes[position..<end]), place: path)
  }

  /// Reads a pickle of numbers, strings and containers.
  private static func plain(
    _ memory: Memory, _ position: inout Int, _ path: String
  ) throws(LimnError) -> (value: PickleValue, PickleMachine) {
    var machine = try machine(memory, position, path)
    var nothing = NoTypes()
    let value = try machine.run(&nothing)
    position += machine.reader.position
    return (value, machine)
  }

  /// Walks over the storages and records the position of each.
  private static func places(
    of keys: [PickleValue], _ storages: [String: TorchPickle.Storage], _ reader: ByteReader
  ) throws(LimnError) -> [String: Range<Int>] {
    var reader = reader
    var places: [String: Range<Int>] = [:]
    for key in keys {
      guard case .string(let key) = key, let storage = storages[key], let size = storage.byteCount else {
        throw reader.error("a storage is listed that no tensor lies in")
      }
      let count: Int64 = try reader.integer("storage \"\(key)\"")
      guard count == storage.elements else {
        throw LimnError.badData(
          "storage \"\(key)\" has another size than the pickle says", in: reader.place,
          expected: storage.description, found: "\(count)")
      }
      guard places.updateValue(try reader.take(size, "storage \"\(key)\""), forKey: key) == nil else {
        throw reader.error("storage \"\(key)\" is listed twice")
      }
    }
    guard let missing = storages.keys.filter({ places[$0] == nil }).min() else { return places }
    throw reader.error("storage \"\(missing)\" is not listed")
  }
}

/// Refuses every name: for pickles of plain values.
private struct NoTypes: PickleReader {
  func allows(global: String) -> Bool { false }

  mutating func storage(_ identifier: [PickleValue], _ machine: PickleMachine) throws(LimnError)
    -> PickleValue
  { throw machine.error("a storage where none belongs") }

  mutating func call(
    _ global: String, _ arguments: [PickleValue], _ machine: inout PickleMachine
  ) throws(LimnError) -> PickleValue { throw machine.error("a call of \"\(global)\"") }
}
