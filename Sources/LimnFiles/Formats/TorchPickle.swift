import LimnCore
import LimnTensor

/// What a pickle written by `torch.save` says about its tensors: which storage each lies in, and how. The positions
/// of the storages in the file are not known until the pickle has been read; `TorchStateDict` combines the two.
struct TorchPickle: PickleReader {
  /// Keyed by the storage's name in the pickle.
  private(set) var storages: [String: Storage] = [:]
  private var mentions: [String] = []
  private var tensors: [TorchTensor] = []

  struct Storage: Equatable {
    /// nil: untyped bytes; the tensor supplies the type.
    let type: TensorType?
    let elements: Int

    /// nil if the number overflows.
    var byteCount: Int? { (type ?? .u8).byteCount(elements: elements) }
    var description: String { "\(elements) elements of \(type?.rawValue ?? "one byte")" }
  }

  /// Limits far above any real model, so that a short pickle cannot ask for much memory.
  static let maxAxes = 16
  static let maxTensors = 1 << 17

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

  /// Reads ("storage", type, key, device, number of elements). The form before zip may add which part of another
  /// storage this is; no version since 0.4 does.
  mutating func storage(_ identifier: [PickleValue], _ machine: PickleMachine) throws(LimnError)
    -> PickleValue
  {
    guard identifier.count == 5 || identifier.count == 6 && identifier[5] == .none,
      identifier[0] == .string("storage"), case .global(let typeName) = identifier[1],
      case .string(let key) = identifier[2], case .int(let elements) = identifier[4]
    else { throw machine.error("a storage with an unknown description") }
    let type = Self.named(typeName, Self.storageTypes)
    guard type != nil || typeName == "torch.storage.UntypedStorage" else {
      throw machine.error("\"\(typeName)\" is no type of a storage")
    }
    let storage = Storage(type: type, elements: elements)
    guard storage.byteCount != nil, storages.updateValue(storage, forKey: key) ?? storage == storage else {
      throw machine.error("storage \"\(key)\" has an impossible size, or two descriptions")
    }
    mentions.append(key)
    return .storage(mentions.count - 1)
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

  /// Reads (storage, offset, shape, strides, …), with offset and strides in elements.
  private mutating func tensor(
    _ arguments: [PickleValue], dtype: TensorType?, metadata: PickleValue, _ machine: PickleMachine
  ) throws(LimnError) -> PickleValue {
    guard case .storage(let index) = arguments[0], case .int(let offset) = arguments[1], offset >= 0,
      let storage = storages[mentions[index]], let type = dtype ?? storage.type,
      let shape = Self.sizes(arguments[2], machine), let strides = Self.sizes(arguments[3], machine),
      shape.count == strides.count
    else { throw machine.error("a tensor with an unknown description") }
    if case .dict(let place) = metadata, !machine.dicts[place].isEmpty {
      throw machine.error("a tensor that is stored negated or conjugated")
    }
    guard tensors.count < Self.maxTensors else {
      throw machine.error("more than \(Self.maxTensors) tensors")
    }
    // The end of the last element, and hence the number of elements, must lie inside the storage.
    let room = (storage.byteCount ?? 0) / type.layout.bytes
    guard let layout = Strides(shape: shape, strides: strides), offset <= room, layout.extent <= room - offset
    else { throw machine.error("a tensor of shape \(shape) reaches beyond its storage") }
    tensors.append(TorchTensor(storage: mentions[index], type: type, offset: offset, layout: layout))
    return .tensor(tensors.count - 1)
  }

  private static func sizes(_ value: PickleValue, _ machine: PickleMachine) -> [Int]? {
    guard case .sequence(let place) = value, machine.sequences[place].count <= maxAxes else { return nil }
    var result: [Int] = []
    for item in machine.sequences[place] {
      guard case .int(let size) = item, size >= 0 else { return nil }
      result.append(size)
    }
    return result
  }

  /// The dictionary of tensors: the pickle's value itself, or the entry where a training script put it.
  func stateDict(_ value: PickleValue, _ machine: PickleMachine) throws(LimnError) -> TorchStateDict {
    guard case .dict(var place) = value else {
      throw machine.error("the file holds no dictionary of tensors")
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
    var entries: [(String, TorchTensor)] = []
    for (key, value) in machine.dicts[place] {
      guard case .string(let name) = key, case .tensor(let index) = value else { continue }
      guard names.insert(ExactString(name)).inserted else {
        throw machine.error("the tensor \"\(name)\" stands there twice")
      }
      entries.append((name, tensors[index]))
    }
    return TorchStateDict(entries: entries)
  }
}

/// A tensor as a pickle describes it; it lies inside its storage.
struct TorchTensor {
  /// The storage's key.
  let storage: String
  let type: TensorType
  /// The position of the first element, in elements.
  let offset: Int
  let layout: Strides
}

/// Tensor descriptions by name, in the order of the dictionary.
struct TorchStateDict {
  let entries: [(name: String, tensor: TorchTensor)]

  /// The tensors, given where each storage is in `memory`. Tensors that lie row by row are not copied.
  func tensors(
    in memory: Memory, at places: [String: Range<Int>], path: String
  ) throws(LimnError) -> [NamedTensor] {
    // The limit on bytes copied for the others: the file's size, plus a little for small files.
    var copyBudget = memory.bytes.count + 1 << 20
    var tensors: [NamedTensor] = []
    for (name, entry) in entries {
      let size = entry.type.layout.bytes, layout = entry.layout
      let start = places[entry.storage]!.lowerBound + entry.offset * size
      if layout.isContiguous {
        let bytes = start..<start + layout.count * size
        tensors.append(
          NamedTensor(
            name: name, tensor: Tensor(type: entry.type, shape: layout.shape, memory: memory, range: bytes)))
        continue
      }
      guard layout.count <= copyBudget / size else {
        throw LimnError.badData("tensors repeat more data than the file has", in: path, found: name)
      }
      copyBudget -= layout.count * size
      let copy = try layout.copy(memory.bytes.baseAddress! + start, elementSize: size)
      tensors.append(
        NamedTensor(
          name: name,
          tensor: Tensor(type: entry.type, shape: layout.shape, memory: copy, range: 0..<copy.bytes.count)))
    }
    return tensors
  }
}
