import Foundation
import LimnCore
import LimnFiles
import LimnTensor
import Testing

/// What a header says, to be compared: without the tensors' values.
private struct Header: Equatable {
  struct Entry: Equatable {
    let name: String
    let type: TensorType
    let shape: [Int]
    let range: Range<Int>
  }

  let tensors: [Entry]
  let keys: [String]
  let texts: [[String]?]
  let numbers: [[Double]?]

  init(_ file: GGUF) {
    tensors = Self.entries(file.tensors)
    keys = file.metadata.map(\.key)
    texts = file.metadata.map { $0.value.strings ?? $0.value.string.map { [$0] } }
    numbers = file.metadata.map { $0.value.doubles ?? $0.value.double.map { [$0] } }
  }

  init(_ file: Safetensors) {
    tensors = Self.entries(file.tensors)
    keys = file.metadata.map { "\($0) \($1)" }.sorted()
    (texts, numbers) = ([], [])
  }

  private static func entries(_ tensors: [NamedTensor]) -> [Entry] {
    tensors.map { Entry(name: $0.name, type: $0.tensor.type, shape: $0.tensor.shape, range: $0.tensor.range) }
  }
}

private enum Outcome: Equatable {
  case whole(Header)
  case cut(Int)
  case refused(LimnError)

  var isCut: Bool { if case .cut = self { true } else { false } }
}

private enum Format: String, CaseIterable {
  case gguf, safetensors

  static func of(_ path: String) -> Format { path.hasSuffix(".gguf") ? .gguf : .safetensors }

  /// What the first bytes say of a file that has `size`.
  func read(_ beginning: some Collection<UInt8>, size: Int) -> Outcome {
    func outcome<File>(_ reading: HeaderReading<File>, _ header: (File) -> Header) -> Outcome {
      switch reading {
      case .whole(let file): .whole(header(file))
      case .cut(let needed): .cut(needed)
      }
    }
    do throws(LimnError) {
      return switch self {
      case .gguf: outcome(try GGUF.read(beginning, fileSize: size, path: "x"), Header.init)
      case .safetensors: outcome(try Safetensors.read(beginning, fileSize: size, path: "x"), Header.init)
      }
    } catch {
      return .refused(error)
    }
  }

  /// What opening the whole file says; places in errors are those of `read`.
  func open(_ bytes: [UInt8]) throws -> Outcome {
    try Fixtures.with(bytes, as: "x.\(rawValue)") { path in
      do throws(LimnError) {
        return switch self {
        case .gguf: .whole(Header(try GGUF(path: path)))
        case .safetensors: .whole(Header(try Safetensors(path: path)))
        }
      } catch {
        var error = error
        error.place = error.place?.replacing(path, with: "x")
        return .refused(error)
      }
    }
  }
}

@Suite("Headers without their files") struct HeaderTests {
  private static let models = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/Models/checkpoints").path()

  /// Every fixture of the two formats.
  static let files: [String] = {
    let small = ["v3.gguf", "v2.gguf", "align128.gguf", "align4.gguf", "types.safetensors"].map(Fixtures.path)
    let models = FileManager.default.enumerator(atPath: Self.models)?.compactMap { $0 as? String } ?? []
    return small
      + models.filter { $0.hasSuffix(".gguf") || $0.hasSuffix(".safetensors") }.sorted()
      .map { Self.models + "/" + $0 }
  }()

  @Test("asking for what is missing, piece by piece, ends with the header that the whole file has")
  func pieces() throws {
    #expect(Self.files.count > 40)
    for path in Self.files {
      let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
      let format = Format.of(path)
      var count = 0
      while case .cut(let needed) = format.read(bytes.prefix(count), size: bytes.count) {
        guard needed > count, needed <= bytes.count else {
          Issue.record("\(path): \(needed) bytes after \(count)")
          break
        }
        count = needed
      }
      let header = format.read(bytes.prefix(count), size: bytes.count)
      #expect(try header == format.open(bytes), "\(path)")
      guard case .whole(let header) = header else { throw LimnError.badData("no header", in: path) }
      // The header ends before the data does.
      #expect(count <= header.tensors.map(\.range.lowerBound).min() ?? count, "\(path)")
    }
  }

  @Test("every beginning of a file asks for more until the header is whole, and then says what the file says")
  func everyBeginning() throws {
    for path in Self.files.prefix(5) {
      let bytes = try [UInt8](Data(contentsOf: URL(filePath: path)))
      let (format, whole) = (Format.of(path), try Format.of(path).open(bytes))
      let outcomes = (0...bytes.count).map { format.read(bytes.prefix($0), size: bytes.count) }
      let end = try #require(outcomes.firstIndex { !$0.isCut })
      #expect(outcomes[end...].allSatisfy { $0 == whole }, "\(path)")
    }
  }

  @Test("damage is told as by opening the whole file, or not yet seen")
  func damage() throws {
    var (refused, seenEarly) = (0, 0)
    for path in [Self.files[0], Self.files[4]] {
      let (bytes, format) = (try [UInt8](Data(contentsOf: URL(filePath: path))), Format.of(path))
      let headerEnd = try #require((0...bytes.count).first { !format.read(bytes.prefix($0), size: bytes.count).isCut })
      var random = SplitMix(state: 7)
      for _ in 0..<400 {
        var damaged = bytes
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          damaged[Int.random(in: 0..<headerEnd, using: &random)] = .random(in: 0...255, using: &random)
        }
        let expected = try format.open(damaged)
        for count in [0, 8, .random(in: 0...headerEnd, using: &random), headerEnd, damaged.count] {
          let outcome = format.read(damaged.prefix(count), size: damaged.count)
          if case .cut(let needed) = outcome {
            #expect(needed > count && needed <= damaged.count && count < damaged.count)
          } else {
            #expect(outcome == expected)
            if case .refused = outcome { (refused, seenEarly) = (refused + 1, seenEarly + (count < headerEnd ? 1 : 0)) }
          }
        }
      }
    }
    #expect(refused > 500 && seenEarly > 100)
  }

  @Test("a size that is smaller than the header, negative or beyond all files is refused, or harmless")
  func sizes() throws {
    for path in [Self.files[0], Self.files[4]] {
      let (bytes, format) = (try [UInt8](Data(contentsOf: URL(filePath: path))), Format.of(path))
      for size in [0, 1, 100, bytes.count - 40] {
        #expect(try format.read(bytes, size: size) == format.open(Array(bytes[..<size])), "\(size)")
      }
      if case .whole = format.read(bytes, size: -1) { Issue.record("a file of negative size") }
      if case .cut = format.read(bytes, size: .max) { Issue.record("a header that never ends") }
    }
  }

  @Test("values that are not here are said to be missing, and are there where the beginning reaches them")
  func values() throws {
    let bytes = try [UInt8](Data(contentsOf: URL(filePath: Self.files[0])))
    var beginning = 0
    while case .cut(let needed) = try GGUF.read(bytes.prefix(beginning), fileSize: bytes.count, path: "x") {
      beginning = needed
    }
    let cpu = try CPU(threads: 1)
    for count in [beginning, bytes.count] {
      guard case .whole(let file) = try GGUF.read(bytes.prefix(count), fileSize: bytes.count, path: "x") else {
        throw LimnError.badData("no header")
      }
      let tensor = try #require(file.tensors.first { $0.tensor.type == .f32 && $0.tensor.count > 0 }).tensor
      #expect(tensor.isHere == (count == bytes.count))
      if tensor.isHere {
        #expect(try dequantized(tensor).count == tensor.count)
      } else {
        for read in [{ _ = try dequantized(tensor) }, { _ = try Weight(tensor).resolved(on: cpu) }] {
          let error = #expect(throws: LimnError.self) { try read() }
          #expect(error?.kind == .unavailable && error?.place == "x")
        }
      }
    }
  }
}
