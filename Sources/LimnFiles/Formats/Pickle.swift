import LimnCore
import LimnTensor

/// What a pickle can hold here. Containers are indices into the machine's tables, never nested values, so that
/// freeing whatever a hostile file nests a million deep needs no recursion.
enum PickleValue: Equatable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  /// An allowed name, as "module.name".
  case global(String)
  /// A tuple or a list.
  case sequence(Int)
  case dict(Int)
  /// A value of one of the file's own types, numbered by the reader of those types.
  case storage(Int)
  case tensor(Int)
}

/// Gives meaning to the few things that a pickle may refer to or call.
protocol PickleReader {
  /// Whether a pickle may mention this name at all.
  func allows(global: String) -> Bool
  mutating func storage(_ identifier: [PickleValue], _ machine: PickleMachine) throws(LimnError)
    -> PickleValue
  mutating func call(
    _ global: String, _ arguments: [PickleValue], _ machine: inout PickleMachine
  ) throws(LimnError) -> PickleValue
}

/// A pickle machine that executes nothing: it understands numbers, strings and plain containers, and passes the rest
/// to a `PickleReader`. Opcodes and names outside its lists are errors. (Format: Python's `pickletools`.)
struct PickleMachine {
  private(set) var sequences: [[PickleValue]] = []
  private(set) var dicts: [[(key: PickleValue, value: PickleValue)]] = []
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  private(set) var reader: ByteReader

  /// Each entry of the stack, the memo and the tables comes from an opcode of at least one byte, so this
  /// bounds them all.
  static let longest = 8 << 20

  init(_ bytes: UnsafeRawBufferPointer, place: String) throws(LimnError) {
    guard bytes.count <= Self.longest else {
      throw LimnError.badData(
        "a pickle of \(bytes.count) bytes", in: place, expected: "at most \(Self.longest)",
        remedy: "save the weights alone, without the state of the training")
    }
    reader = ByteReader(bytes, place: place)
  }

  mutating func makeDict() -> PickleValue {
    dicts.append([])
    return .dict(dicts.count - 1)
  }

  mutating func makeSequence(_ items: [PickleValue]) -> PickleValue {
    sequences.append(items)
    return .sequence(sequences.count - 1)
  }

  func error(_ what: String) -> LimnError { reader.error(what) }

  /// Runs the pickle and returns the value on top of the stack at its STOP.
  mutating func run(_ types: inout some PickleReader) throws(LimnError) -> PickleValue {
    while true {
      let code: UInt8 = try reader.integer("a pickle")
      if code == UInt8(ascii: ".") { return try pop() }
      if try !plain(code), try !composed(code, &types) {
        let name = code >= 0x20 && code < 0x7F ? "'\(Unicode.Scalar(code))'" : "0x" + String(code, radix: 16)
        throw reader.error("the pickle opcode \(name) is none that weights need", at: reader.position - 1)
      }
    }
  }

  // MARK: Numbers, strings, stack and memo

  /// - Returns: whether the opcode was one of these.
  private mutating func plain(_ code: UInt8) throws(LimnError) -> Bool {
    switch code {
    case 0x80: _ = try reader.take(1, "a pickle")  // PROTO
    case 0x95: _ = try reader.take(8, "a pickle")  // FRAME
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "J"): stack.append(.int(Int(try number(Int32.self))))
    case UInt8(ascii: "K"): stack.append(.int(Int(try number(UInt8.self))))
    case UInt8(ascii: "M"): stack.append(.int(Int(try number(UInt16.self))))
    case 0x8A: stack.append(.int(try longInteger()))  // LONG1
    case UInt8(ascii: "G"):
      let bits = UInt64(bigEndian: UInt64(littleEndian: try number(UInt64.self)))
      stack.append(.float(Double(bitPattern: bits)))
    case UInt8(ascii: "X"): stack.append(.string(try text(Int(try number(UInt32.self)))))
    case 0x8C: stack.append(.string(try text(Int(try number(UInt8.self)))))  // SHORT_BINUNICODE
    case 0x8D: stack.append(.string(try text(try reader.count("length of a string"))))  // BINUNICODE8
    case UInt8(ascii: "T"): stack.append(.string(try text(Int(try number(UInt32.self)))))  // BINSTRING
    case UInt8(ascii: "U"): stack.append(.string(try text(Int(try number(UInt8.self)))))  // SHORT_BINSTRING
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "0"): _ = try pop()
    case UInt8(ascii: "1"): _ = try popToMark()
    case UInt8(ascii: "2"): stack.append(try top())
    case UInt8(ascii: "q"): memo[Int(try number(UInt8.self))] = try top()
    case UInt8(ascii: "r"): memo[Int(try number(UInt32.self))] = try top()
    case 0x94: memo[memo.count] = try top()  // MEMOIZE
    case UInt8(ascii: "h"): stack.append(try remembered(Int(try number(UInt8.self))))
    case UInt8(ascii: "j"): stack.append(try remembered(Int(try number(UInt32.self))))
    default: return false
    }
    return true
  }

  // MARK: Containers, names and calls

  private mutating func composed(_ code: UInt8, _ types: inout some PickleReader) throws(LimnError) -> Bool {
    switch code {
    case UInt8(ascii: "}"): stack.append(makeDict())
    case UInt8(ascii: "]"), UInt8(ascii: ")"): stack.append(makeSequence([]))
    case UInt8(ascii: "t"), UInt8(ascii: "l"): stack.append(makeSequence(try popToMark()))
    case 0x85, 0x86, 0x87: stack.append(makeSequence(try pop(Int(code) - 0x84)))  // TUPLE1, 2, 3
    case UInt8(ascii: "a"): try append(try pop(1))
    case UInt8(ascii: "e"): try append(try popToMark())
    case UInt8(ascii: "s"): try setItems(try pop(2))
    case UInt8(ascii: "u"): try setItems(try popToMark())
    case UInt8(ascii: "c"): stack.append(try global(try line() + "." + line(), types))
    case 0x93:  // STACK_GLOBAL
      let names = try pop(2)
      guard case .string(let module) = names[0], case .string(let name) = names[1] else {
        throw error("a name that is no string")
      }
      stack.append(try global(module + "." + name, types))
    case UInt8(ascii: "Q"):  // BINPERSID
      guard case .sequence(let place) = try pop() else { throw error("a storage without description") }
      stack.append(try types.storage(sequences[place], self))
    case UInt8(ascii: "R"): try reduce(&types)
    case UInt8(ascii: "b"):  // BUILD: attributes of an OrderedDict, which limn does not need
      _ = try pop()
      guard case .dict = try top() else {
        throw error("attributes are set on something that is no dictionary")
      }
    default: return false
    }
    return true
  }

  private func global(_ name: String, _ types: some PickleReader) throws(LimnError) -> PickleValue {
    guard types.allows(global: name) else {
      throw LimnError.badData(
        "the pickle asks for \"\(name)\", which weights do not need",
        in: "\(reader.place), byte \(reader.position)",
        remedy: "use this file only if you trust it, and convert it to safetensors")
    }
    return .global(name)
  }

  private mutating func reduce(_ types: inout some PickleReader) throws(LimnError) {
    let call = try pop(2)
    guard case .global(let name) = call[0], case .sequence(let arguments) = call[1] else {
      throw error("a call of something that is no function")
    }
    let items = sequences[arguments]
    stack.append(try types.call(name, items, &self))
  }

  private mutating func append(_ items: [PickleValue]) throws(LimnError) {
    guard case .sequence(let place) = try top() else { throw error("an item for something that is no list") }
    sequences[place] += items
  }

  private mutating func setItems(_ items: [PickleValue]) throws(LimnError) {
    guard case .dict(let place) = try top() else {
      throw error("an item for something that is no dictionary")
    }
    guard items.count % 2 == 0 else { throw error("a key without value") }
    for index in stride(from: 0, to: items.count, by: 2) {
      dicts[place].append((items[index], items[index + 1]))
    }
  }

  // MARK: Operands

  private mutating func number<T: FixedWidthInteger>(_: T.Type) throws(LimnError) -> T {
    try reader.integer("a pickle")
  }

  /// LONG1: little-endian two's complement of the given length.
  private mutating func longInteger() throws(LimnError) -> Int {
    let range = try reader.take(Int(try number(UInt8.self)), "a pickle")
    guard range.count <= 8 else { throw error("a number of more than 64 bits") }
    var value: UInt64 = 0
    for byte in reader.bytes[range].reversed() { value = value << 8 | UInt64(byte) }
    let unused = 64 - 8 * range.count
    return range.isEmpty ? 0 : Int(Int64(bitPattern: value << unused) >> unused)
  }

  private mutating func text(_ count: Int) throws(LimnError) -> String {
    let range = try reader.take(count, "a string of the pickle")
    guard let text = String(validating: reader.bytes[range], as: UTF8.self) else {
      throw error("a string of the pickle is not UTF-8")
    }
    return text
  }

  /// A name that ends at a newline; GLOBAL has two of them.
  private mutating func line() throws(LimnError) -> String {
    guard let end = reader.bytes[reader.position...].firstIndex(of: 0x0A) else {
      throw error("a name without end")
    }
    let name = try text(end - reader.position)
    _ = try reader.take(1, "a pickle")
    return name
  }

  // MARK: The stack

  /// Nothing below the last mark can be reached until the mark is gone.
  private var floor: Int { marks.last ?? 0 }

  private func top() throws(LimnError) -> PickleValue {
    guard stack.count > floor, let value = stack.last else {
      throw error("the pickle takes more than it has put")
    }
    return value
  }

  private mutating func pop() throws(LimnError) -> PickleValue {
    let value = try top()
    stack.removeLast()
    return value
  }

  private mutating func pop(_ count: Int) throws(LimnError) -> [PickleValue] {
    guard stack.count - floor >= count else { throw error("the pickle takes more than it has put") }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popToMark() throws(LimnError) -> [PickleValue] {
    guard let mark = marks.popLast() else {
      throw error("the pickle goes back to a mark that it has not set")
    }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private func remembered(_ key: Int) throws(LimnError) -> PickleValue {
    guard let value = memo[key] else { throw error("the pickle recalls what it has not put away") }
    return value
  }
}
