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
