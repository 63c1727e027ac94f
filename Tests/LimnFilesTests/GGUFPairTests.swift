import Foundation
import LimnCore
import LimnFiles
import LimnTensor
import LimnTesting
import Testing

/// Which projector file belongs to a language model, among those that lie beside it.
@Suite("Pairs of GGUF files") struct GGUFPairTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func write(
    _ name: String, _ metadata: [(key: String, value: GGUFMetadata)], _ tensors: [(String, TensorType, [Int])]
  ) throws {
    let headers = try tensors.map { try TensorHeader(name: $0.0, type: $0.1, shape: $0.2) }
    let layout = try GGUFWriter.layout(metadata, headers)
    try folder.write(name, Data(layout.header) + Data(count: layout.byteCount - layout.header.count))
  }

  /// A language model that reads embeddings of a width, as far as pairing looks at it.
  @discardableResult private func model(_ name: String, width: Int) throws -> ModelLocation {
    let metadata: [(key: String, value: GGUFMetadata)] = [
      ("general.architecture", .string("llama")), ("llama.embedding_length", .u32(width)),
    ]
    try write(name, metadata, [("token_embd.weight", .f32, [2, width])])
    return ModelLocation(folder.path(name))
  }

  private func projector(_ name: String, width: Int, as type: TensorType = .f16) throws {
    try write(
      name, [("general.architecture", .string("clip"))],
      [("mm.0.weight", type, [width, 32]), ("mm.2.weight", type, [width, width])])
  }

  private func chosen(_ location: ModelLocation) throws -> (name: String?, others: [String]) {
    let pair = try GGUFPair(location)
    return (pair.projector.map { URL(filePath: $0.path).lastPathComponent }, pair.alternatives)
  }

  @Test("the one whose embeddings are as wide as the model's is taken, whatever it is called")
  func width() throws {
    let location = try model("llava-a-Q4_0.gguf", width: 64)
    #expect(try chosen(location) == (nil, []))
    try model("other.gguf", width: 64)
    #expect(try chosen(location) == (nil, []))
    try projector("llava-a-mmproj.gguf", width: 32)
    try projector("vision.gguf", width: 64)
    try folder.write("._vision.gguf", Data("macOS writes these".utf8))
    try folder.write("half.gguf", Data("GGUF".utf8))
    #expect(try chosen(location) == ("vision.gguf", []))
    try projector("llava-a-f32-mmproj.gguf", width: 64)
    #expect(try chosen(location) == ("llava-a-f32-mmproj.gguf", ["vision.gguf"]))
  }

  @Test("of several that fit the name decides, then precision")
  func nearness() throws {
    let location = try model("llava-v1.5-7b-Q4_K_M.gguf", width: 32)
    try projector("llava-v1.6-7b-mmproj-q4_k_m.gguf", width: 32)
    try projector("mmproj-llava-v1.5-7b-q8_0.gguf", width: 32, as: .q8_0)
    #expect(try chosen(location).name == "mmproj-llava-v1.5-7b-q8_0.gguf")
    try projector("mmproj-llava-v1.5-7b-f32.gguf", width: 32, as: .f32)
    try projector("mmproj-llava-v1.5-7b-f16.gguf", width: 32, as: .f16)
    let (name, others) = try chosen(location)
    #expect(name == "mmproj-llava-v1.5-7b-f32.gguf")
    #expect(
      others == ["mmproj-llava-v1.5-7b-f16.gguf", "mmproj-llava-v1.5-7b-q8_0.gguf", "llava-v1.6-7b-mmproj-q4_k_m.gguf"])
  }

  @Test("where none fits, the error names them all with their widths, and the one that is wanted")
  func misfits() throws {
    let location = try model("m.gguf", width: 64)
    try projector("a-mmproj.gguf", width: 32)
    try projector("b-mmproj.gguf", width: 96)
    let error = #expect(throws: LimnError.self) { try Checkpoint.open(location) }
    #expect(error?.kind == .badData)
    for word in ["64", "32 in a-mmproj.gguf", "96 in b-mmproj.gguf", "--mmproj"] {
      #expect(error?.description(for: .command).contains(word) == true, "\(error!)")
    }
  }

  @Test("a projector that is named and makes embeddings of another width is refused with both numbers")
  func named() throws {
    var location = try model("m.gguf", width: 64)
    try projector("other.gguf", width: 32)
    location.projector = folder.path("other.gguf")
    let swapped = ModelLocation(folder.path("other.gguf"), projector: folder.path("m.gguf"))
    for location in [location, swapped] {
      let error = #expect(throws: LimnError.self) { try Checkpoint.open(location) }
      #expect(error?.kind == .badData && error?.place == folder.path("other.gguf"))
      #expect(error?.expected?.contains("64") == true && error?.found == "32")
    }
  }

  @Test("a projector file that was cut is not passed over in silence, unless another one fits")
  func broken() throws {
    let location = try model("m.gguf", width: 64)
    try projector("m-mmproj.gguf", width: 64)
    let bytes = try Data(contentsOf: URL(filePath: folder.path("m-mmproj.gguf")))
    for count in [10, bytes.count / 2] {
      try folder.write("m-mmproj.gguf", bytes.prefix(count))
      let error = #expect(throws: LimnError.self) { try GGUFPair(location) }
      #expect(error?.description.contains("m-mmproj.gguf") == true)
    }
    try projector("other.gguf", width: 64)
    #expect(try chosen(location).name == "other.gguf")
  }
}

/// A model in several GGUF files, of the form that llama.cpp's gguf-split gives them.
@Suite("Split GGUF files") struct SplitGGUFTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func name(_ stem: String, _ number: Int, of count: Int) -> String {
    "\(stem)-0000\(number)-of-0000\(count).gguf"
  }

  private func shard(
    _ stem: String, _ number: Int, of count: Int, _ tensors: [(String, TensorType, [Int])], all: Int,
    metadata: [(key: String, value: GGUFMetadata)] = [], as other: String? = nil
  ) throws {
    let split: [(key: String, value: GGUFMetadata)] = [
      ("split.no", .u32(number - 1)), ("split.count", .u32(count)), ("split.tensors.count", .u32(all)),
    ]
    let headers = try tensors.map { try TensorHeader(name: $0.0, type: $0.1, shape: $0.2) }
    let layout = try GGUFWriter.layout(metadata + split, headers)
    let bytes = Data(layout.header) + Data(count: layout.byteCount - layout.header.count)
    try folder.write(other ?? name(stem, number, of: count), bytes)
  }

  private func model(_ architecture: String = "llama") -> [(key: String, value: GGUFMetadata)] {
    [("general.architecture", .string(architecture)), ("llama.embedding_length", .u32(64))]
  }

  @Test("the first file stands for all, also if it has no tensors, and also for a projector")
  func whole() throws {
    try shard("m", 1, of: 3, [], all: 3, metadata: model())
    try shard("m", 2, of: 3, [("token_embd.weight", .f32, [2, 64])], all: 3)
    try shard("m", 3, of: 3, [("output_norm.weight", .f32, [64]), ("output.weight", .f32, [2, 64])], all: 3)
    try shard("mmproj", 1, of: 2, [("mm.0.weight", .f16, [64, 32])], all: 2, metadata: model("clip"))
    try shard("mmproj", 2, of: 2, [("mm.2.weight", .f16, [64, 64])], all: 2)
    let location = ModelLocation(folder.path(name("m", 1, of: 3)))
    let pair = try GGUFPair(location)
    #expect(pair.language.tensors.map(\.name) == ["token_embd.weight", "output_norm.weight", "output.weight"])
    #expect(pair.language.files == (1...3).map { folder.path(name("m", $0, of: 3)) })
    #expect(pair.projector?.tensors.map(\.name) == ["mm.0.weight", "mm.2.weight"])
    #expect(pair.alternatives.isEmpty)
    #expect(try RawWeights.open(location).tensors.count == 5)
    #expect(GGUF.stem(of: name("m", 1, of: 3)) == "m" && GGUF.stem(of: "llava-v1.5-of-7b.gguf") == "llava-v1.5-of-7b")
  }

  @Test("another file than the first, and a missing one, are errors that name the right file")
  func wrongFiles() throws {
    try shard("m", 1, of: 3, [("token_embd.weight", .f32, [2, 64])], all: 2, metadata: model())
    try shard("m", 3, of: 3, [("output_norm.weight", .f32, [64])], all: 2)
    let later = #expect(throws: LimnError.self) { try GGUF(path: folder.path(name("m", 3, of: 3))) }
    #expect(later?.description.contains(name("m", 1, of: 3)) == true)
    let missing = #expect(throws: LimnError.self) { try GGUF(path: folder.path(name("m", 1, of: 3))) }
    #expect(missing?.description.contains(name("m", 2, of: 3)) == true)
  }

  @Test("files of different models, doubled tensors, a wrong total and a name that tells nothing are refused")
  func misfits() throws {
    let first: [(String, TensorType, [Int])] = [("token_embd.weight", .f32, [2, 64])]
    func expectRefusal(_ word: String, _ path: String) {
      let error = #expect(throws: LimnError.self) { try GGUF(path: folder.path(path)) }
      #expect(error?.kind == .badData && error?.description.contains(word) == true, "\(error!)")
    }
    try shard("a", 1, of: 2, first, all: 2, metadata: model())
    try shard("a", 3, of: 3, [], all: 2, as: name("a", 2, of: 2))
    expectRefusal("part 3 of 3", name("a", 1, of: 2))
    try shard("a", 2, of: 2, first, all: 2)
    expectRefusal("token_embd.weight", name("a", 1, of: 2))
    try shard("a", 2, of: 2, [], all: 2)
    expectRefusal("tensors", name("a", 1, of: 2))
    try shard("a", 1, of: 2, first, all: 2, metadata: model(), as: "renamed.gguf")
    expectRefusal("-00001-of-00002.gguf", "renamed.gguf")
  }
}
