package import LimnTensor

/// The tensors of a file that `torch.save` wrote in its zip form (PyTorch 1.6 and later), mapped. The pickle
/// inside is read by a machine that executes nothing.
///
///     NAME/data.pkl    the pickle: names, shapes, and which storage each tensor lies in
///     NAME/data/KEY    the storages, raw
///     NAME/byteorder   "little"
package struct PyTorchFile: Sendable {
  package let path: String
  /// In the order of the dictionary.
  package let tensors: [NamedTensor]

  package init(path: String) throws(LimnError) {
    let memory = try Memory(mapping: path)
    guard memory.bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) else {
      throw Self.refusal(memory.bytes, path: path)
    }
    let zip = try Zip(memory.bytes, place: path)
    guard let pickleName = zip.entries.keys.map(\.value).filter({ $0.hasSuffix("/data.pkl") }).min(),
      let pickle = zip[pickleName]
    else {
      throw LimnError.badData("the zip archive holds no data.pkl: torch.save did not write it", in: path)
    }
    let prefix = String(pickleName.dropLast("data.pkl".count))
    if let order = zip[prefix + "byteorder"], !memory.bytes[order].elementsEqual("little".utf8) {
      throw LimnError.badData("weights in big-endian order, which limn does not read", in: path)
    }
    var machine = try PickleMachine(
      UnsafeRawBufferPointer(rebasing: memory.bytes[pickle]), place: "\(path), data.pkl")
    var reader = TensorRebuilder(memory: memory, zip: zip, prefix: prefix)
    let result = try machine.run(&reader)
    self.path = path
    tensors = try Self.stateDict(result, machine, reader, path: path)
  }

  /// The dictionary of tensors: the value itself, or what a training script put it under.
  private static func stateDict(
    _ value: PickleValue, _ machine: PickleMachine, _ reader: TensorRebuilder, path: String
  ) throws(LimnError) -> [NamedTensor] {
    guard case .dict(var place) = value else {
      throw LimnError.badData("the file holds no dictionary of tensors", in: path)
    }
    for (key, value) in machine.dicts[place] {
      if case .string(let name) = key, ["state_dict", "model", "module"].contains(name),
        case .dict(let inner) = value
      {
        place = inner
        break
      }
    }
    var names: Set<ExactString> = []
    var tensors: [NamedTensor] = []
    for (key, value) in machine.dicts[place] {
      guard case .string(let name) = key, case .tensor(let index) = value else { continue }
      guard names.insert(ExactString(name)).inserted else {
        throw LimnError.badData("the tensor \"\(name)\" stands there twice", in: path)
      }
      tensors.append(NamedTensor(name: name, tensor: reader.tensors[index]))
    }
    return tensors
  }

  private static func refusal(_ bytes: UnsafeRawBufferPointer, path: String) -> LimnError {
    // The magic number of the form before the zip, as a pickle of its own.
    let old: [UInt8] = [0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
    guard bytes.starts(with: old) else {
      return .badData("this is no file of torch.save: it does not begin as a zip archive", in: path)
    }
    return .badData(
      "a PyTorch file in the form before 1.6, which limn does not read", in: path,
      remedy: "load it with PyTorch and save it again, best as safetensors")
  }
}

/// Rebuilds tensors from what the pickle says about their storages.
private struct TensorRebuilder: PickleReader {
  let memory: Memory
  let zip: Zip
  let prefix: String
  var storages: [Storage] = []
  var tensors: [Tensor] = []
  /// How many bytes may still be copied for tensors that do not lie row by row: as many as the file has, and
  /// a little for small files.
  var copyBudget: Int

  struct Storage {
    /// nil: bytes without type, which the tensor gives them.
    let type: TensorType?
    let range: Range<Int>
  }

  init(memory: Memory, zip: Zip, prefix: String) {
    self.memory = memory
    self.zip = zip
    self.prefix = prefix
    copyBudget = memory.bytes.count + 1 << 20
  }

  /// Limits that no model comes near, so that a short pickle cannot ask for much memory.
  static let mostAxes = 16
  static let mostTensors = 1 << 17

  static let storageTypes: [String: TensorType] = [
    "DoubleStorage": .f64, "FloatStorage": .f32, "HalfStorage": .f16, "BFloat16Storage": .bf16,
    "LongStorage": .i64, "IntStorage": .i32, "ShortStorage": .i16, "CharStorage": .i8, "ByteStorage": .u8,
    "BoolStorage": .bool, "ComplexFloatStorage": .c64,
  ]
  static let dtypes: [String: TensorType] = [
    "float64": .f64, "float32": .f32, "float16": .f16, "bfloat16": .bf16, "int64": .i64, "int32": .i32,
    "int16": .i16, "int8": .i8, "uint64": .u64, "uint32": .u32, "uint16": .u16, "uint8": .u8, "bool": .bool,
    "complex64": .c64, "float8_e4m3fn": .f8_E4M3, "float8_e5m2": .f8_E5M2, "float8_e8m0fnu": .f8_E8M0,
    "float8_e4m3fnuz": .f8_E4M3FNUZ, "float8_e5m2fnuz": .f8_E5M2FNUZ,
  ]
  static let functions: Set<String> = [
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter", "collections.OrderedDict", "torch.Size",
  ]

  func allows(global: String) -> Bool {
    Self.functions.contains(global) || global == "torch.storage.UntypedStorage"
      || Self.named(global, Self.storageTypes) != nil || Self.named(global, Self.dtypes) != nil
  }

  private static func named(_ global: String, _ types: [String: TensorType]) -> TensorType? {
    global.hasPrefix("torch.") ? types[String(global.dropFirst("torch.".count))] : nil
  }

  /// ("storage", type, key, device, number of elements)
  mutating func storage(_ identifier: [PickleValue], _ machine: PickleMachine) throws(LimnError)
    -> PickleValue
  {
    guard identifier.count == 5, identifier[0] == .string("storage"),
      case .global(let typeName) = identifier[1],
      case .string(let key) = identifier[2], case .int(let elements) = identifier[4]
    else { throw machine.error("a storage with an unknown description") }
    let type = Self.named(typeName, Self.storageTypes)
    guard type != nil || typeName == "torch.storage.UntypedStorage" else {
      throw machine.error("\"\(typeName)\" is no type of a storage")
    }
    guard let range = zip[prefix + "data/" + key] else {
      throw machine.error("the archive lacks the data of storage \"\(key)\"")
    }
    guard (type ?? .u8).byteCount(elements: elements) == range.count else {
      throw LimnError.badData(
        "storage \"\(key)\" has another size than the pickle says", in: machine.reader.place,
        expected: "\(elements) elements of \(type?.rawValue ?? "one byte")", found: "\(range.count) bytes")
    }
    storages.append(Storage(type: type, range: range))
    return .storage(storages.count - 1)
  }

  mutating func call(
    _ global: String, _ arguments: [PickleValue], _ machine: inout PickleMachine
  ) throws(LimnError) -> PickleValue {
    switch global {
    case "collections.OrderedDict" where arguments.isEmpty:
      return machine.makeDict()
    case "torch.Size":
      if arguments.count == 1, case .sequence = arguments[0] { return arguments[0] }
    case "torch._utils._rebuild_parameter":
      if let tensor = arguments.first, case .tensor = tensor { return tensor }
    case "torch._utils._rebuild_tensor" where arguments.count == 4:
      return try tensor(arguments, dtype: nil, metadata: .none, machine)
    case "torch._utils._rebuild_tensor_v2" where arguments.count == 6 || arguments.count == 7:
      return try tensor(arguments, dtype: nil, metadata: arguments.count == 7 ? arguments[6] : .none, machine)
    case "torch._utils._rebuild_tensor_v3" where arguments.count == 7 || arguments.count == 8:
      guard case .global(let name) = arguments[6], let type = Self.named(name, Self.dtypes) else { break }
      return try tensor(
        arguments, dtype: type, metadata: arguments.count == 8 ? arguments[7] : .none, machine)
    default: break
    }
    throw machine.error("a call of \"\(global)\" with unknown arguments")
  }

  /// (storage, offset, shape, strides, …), offset and strides in elements.
  private mutating func tensor(
    _ arguments: [PickleValue], dtype: TensorType?, metadata: PickleValue, _ machine: PickleMachine
  ) throws(LimnError) -> PickleValue {
    guard case .storage(let index) = arguments[0], case .int(let offset) = arguments[1], offset >= 0,
      let type = dtype ?? storages[index].type, let shape = Self.sizes(arguments[2], machine),
      let strides = Self.sizes(arguments[3], machine), shape.count == strides.count
    else { throw machine.error("a tensor with an unknown description") }
    if case .dict(let place) = metadata, !machine.dicts[place].isEmpty {
      throw machine.error("a tensor that is stored negated or conjugated")
    }
    guard tensors.count < Self.mostTensors else {
      throw machine.error("more than \(Self.mostTensors) tensors")
    }
    let layout = Strides(shape: shape, strides: strides)
    let range = storages[index].range
    let size = type.layout.bytes
    // The place behind the last element, and with it the number of elements, is inside the storage.
    guard let layout, offset <= range.count / size, layout.extent <= range.count / size - offset else {
      throw machine.error("a tensor of shape \(shape) reaches beyond its storage")
    }
    let start = range.lowerBound + offset * size
    if layout.isContiguous {
      let bytes = start..<start + layout.count * size
      tensors.append(Tensor(type: type, shape: shape, memory: memory, range: bytes))
    } else {
      guard layout.count <= copyBudget / size else {
        throw machine.error("tensors repeat more data than the file has")
      }
      copyBudget -= layout.count * size
      let copy = try layout.copy(memory.bytes.baseAddress! + start, elementSize: size)
      tensors.append(Tensor(type: type, shape: shape, memory: copy, range: 0..<copy.bytes.count))
    }
    return .tensor(tensors.count - 1)
  }

  private static func sizes(_ value: PickleValue, _ machine: PickleMachine) -> [Int]? {
    guard case .sequence(let place) = value, machine.sequences[place].count <= mostAxes else { return nil }
    var result: [Int] = []
    for item in machine.sequences[place] {
      guard case .int(let size) = item, size >= 0 else { return nil }
      result.append(size)
    }
    return result
  }
}

/// Shape and strides of a tensor, in elements, checked against overflow.
private struct Strides {
  let shape: [Int]
  let strides: [Int]
  /// Elements of the tensor.
  let count: Int
  /// One more than the furthest element's place; 0 for a tensor without elements.
  let extent: Int

  init?(shape: [Int], strides: [Int]) {
    self.shape = shape
    self.strides = strides
    guard let count = elementCount(of: shape) else { return nil }
    guard count > 0 else {
      self.count = 0
      extent = 0
      return
    }
    var last = 0
    for (size, stride) in zip(shape, strides) {
      let (reach, tooFar) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, beyond) = last.addingReportingOverflow(reach)
      guard !tooFar, !beyond else { return nil }
      last = sum
    }
    guard last < .max else { return nil }
    self.count = count
    extent = last + 1
  }

  /// Whether the elements lie row by row. The stride of an axis of one element says nothing.
  var isContiguous: Bool {
    if count == 0 { return true }
    var expected = 1
    for (size, stride) in zip(shape, strides).reversed() where size != 1 {
      guard stride == expected else { return false }
      expected *= size
    }
    return true
  }

  /// The elements row by row, in memory of their own.
  func copy(_ source: UnsafeRawPointer, elementSize: Int) throws(LimnError) -> Memory {
    try Memory(count: count * elementSize) { target throws(LimnError) in
      var indices = shape.map { _ in 0 }
      var place = 0
      for element in 0..<count {
        (target.baseAddress! + element * elementSize).copyMemory(
          from: source + place * elementSize, byteCount: elementSize)
        var axis = shape.count - 1
        while axis >= 0 {
          indices[axis] += 1
          place += strides[axis]
          if indices[axis] < shape[axis] { break }
          place -= strides[axis] * shape[axis]
          indices[axis] = 0
          axis -= 1
        }
      }
    }
  }
}
