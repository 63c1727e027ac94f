import LimnFiles
import LimnCore

// Values as Python's text forms, and conversion to and from JSON.

extension Value {
  init(_ json: JSON) {
    switch json {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .int(value)
    case .number(let value): self = .float(value)
    case .string(let text): self = .string(text)
    case .array(let items): self = .list(items.map { Value($0) })
    case .object(let object):
      var mapping = Mapping()
      for member in object.members { mapping.set(.string(member.key), to: Value(member.value)) }
      self = .dict(mapping)
    }
  }

  /// For the filter `tojson`. Throws where Python's `json.dumps` does.
  func json() throws(LimnError) -> JSON {
    switch self {
    case .none: return .null
    case .bool(let value): return .bool(value)
    case .int(let value): return .integer(value)
    case .float(let value): return .number(value)
    case .string(let text), .markup(let text): return .string(text)
    case .list(let items), .tuple(let items):
      var array: [JSON] = []
      for item in items.values { array.append(try item.json()) }
      return .array(array)
    case .dict(let mapping):
      var object = JSONObject()
      for (key, value) in mapping.entries { object.set(try key.jsonKey(), to: try value.json()) }
      return .object(object)
    default:
      throw .badData("a value of type \(typeName) cannot be written as JSON")
    }
  }

  private func jsonKey() throws(LimnError) -> String {
    switch self {
    case .string(let text), .markup(let text): text
    case .none, .bool, .int, .float: try json().serialised()
    default: throw .badData("a value of type \(typeName) cannot be a key in JSON")
    }
  }

  /// Python's `str()`: what `{{ … }}` prints.
  var printed: String {
    switch self {
    case .undefined: ""
    case .string(let text), .markup(let text): text
    default: represented
    }
  }

  /// Python's `repr()`: how values inside lists and dictionaries print.
  var represented: String {
    switch self {
    case .undefined: return "Undefined"
    case .none: return "None"
    case .bool(let value): return value ? "True" : "False"
    case .int(let value): return String(value)
    case .float(let value):
      if value.isNaN { return "nan" }
      return value.isInfinite ? (value < 0 ? "-inf" : "inf") : JSON.text(of: value)
    case .string(let text): return text.pythonRepresentation
    case .markup(let text): return "Markup(\(text.pythonRepresentation))"
    case .list(let items): return "[\(Self.joined(items))]"
    case .tuple(let items):
      return items.values.count == 1 ? "(\(Self.joined(items)),)" : "(\(Self.joined(items)))"
    case .dict(let mapping):
      let entries = mapping.entries.map { "\($0.key.represented): \($0.value.represented)" }
      return "{\(entries.joined(separator: ", "))}"
    case .view(let kind, let items): return "\(kind)([\(Self.joined(items))])"
    case .range(let range):
      let bounds = "\(range.start), \(range.stop)"
      return range.step == 1 ? "range(\(bounds))" : "range(\(bounds), \(range.step))"
    case .loop(let loop): return "<LoopContext \(loop.index0 + 1)/\(loop.knownCount)>"
    case .iterator, .namespace, .macro, .method, .function: return "<\(typeName)>"
    }
  }

  private static func joined(_ items: Items) -> String {
    items.values.map(\.represented).joined(separator: ", ")
  }

  /// The approximate size of `printed` in bytes, to be paid for before it is built.
  var weight: Int {
    switch self {
    case .string(let text), .markup(let text): text.utf8.count
    case .list(let items), .tuple(let items), .view(_, let items): items.weight
    case .dict(let mapping): mapping.weight
    default: 16
    }
  }
}
