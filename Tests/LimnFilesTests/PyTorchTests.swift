import LimnFiles
import LimnTensor
import Testing

@Suite("PyTorch files") struct PyTorchTests {
  @Test("tensors of every type, strided, shared, expanded and scalar, as torch has them")
  func tensors() throws {
    let expected = try #require(try Fixtures.json("pytorch.json").array).map(Listed.init)
    #expect(try PyTorchFile(path: Fixtures.path("types.bin")).tensors.map(Listed.init) == expected)
  }

  @Test("tensors that lie row by row are not copied")
  func mapped() throws {
    let tensors = try PyTorchFile(path: Fixtures.path("types.bin")).tensors
    let path = Fixtures.path("types.bin")
    for entry in tensors {
      let copied = ["column", "transposed", "window", "permuted", "expanded"].contains(entry.name)
      #expect(entry.tensor.memory.path == (copied ? nil : path), "\(entry.name)")
    }
  }

  @Test("a state_dict inside a training checkpoint is found")
  func training() throws {
    let expected = try #require(try Fixtures.json("training.json").array).map(Listed.init)
    #expect(try PyTorchFile(path: Fixtures.path("training.bin")).tensors.map(Listed.init) == expected)
  }

  @Test("newer pickles and 64-bit zip entries are read", arguments: ["protocol4.bin", "zip64.bin"])
  func forms(name: String) throws {
    let expected = Listed(try #require(try Fixtures.json("pytorch.json").array?.first)).hex
    #expect(try PyTorchFile(path: Fixtures.path(name)).tensors.map { Listed($0).hex } == [expected])
  }

  @Test("a pickle that calls a command, or holds a module, is refused and names what it asks for")
  func calls() throws {
    var error = #expect(throws: LimnError.self) { try PyTorchFile(path: Fixtures.path("command.bin")) }
    #expect(error?.description.contains("posix.system") == true)
    error = #expect(throws: LimnError.self) { try PyTorchFile(path: Fixtures.path("module.bin")) }
    #expect(error?.description.contains("torch.nn.modules.container.Sequential") == true)
  }

  @Test("compressed entries are refused")
  func compressed() throws {
    let error = #expect(throws: LimnError.self) { try PyTorchFile(path: Fixtures.path("compressed.bin")) }
    #expect(error?.description.contains("compressed") == true)
  }

  @Test(
    "a cut or damaged file never crashes the reader; a cut one is refused",
    arguments: ["types.bin", "protocol4.bin"])
  func damage(name: String) throws {
    let bytes = try Fixtures.bytes(name)
    let (cut, refused) = try survivesDamage(bytes, as: "x.bin", flips: 3000) {
      try PyTorchFile(path: $0).tensors
    }
    #expect(cut.isEmpty)
    #expect(refused > 100)
  }
}
