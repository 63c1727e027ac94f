import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

@Suite("PyTorch files") struct PyTorchTests {
  @Test("tensors of every type, strided, shared, expanded and scalar, have torch's values")
  func tensors() throws {
    let expected = try #require(try Fixtures.json("pytorch.json").array).map(Listed.init)
    #expect(try PyTorchFile(path: Fixtures.path("types.bin")).tensors.map(Listed.init) == expected)
  }

  @Test("contiguous tensors are not copied")
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

  @Test("the form before 1.6 gives every type, strided and shared tensors, and copies no contiguous ones")
  func old() throws {
    let expected = try #require(try Fixtures.json("pytorch.json").array).map(Listed.init)
    let path = Fixtures.path("old-types.bin")
    let tensors = try PyTorchFile(path: path).tensors
    #expect(tensors.map(Listed.init) == expected)
    for entry in tensors {
      let copied = ["column", "transposed", "window", "permuted", "expanded"].contains(entry.name)
      #expect(entry.tensor.memory.path == (copied ? nil : path), "\(entry.name)")
    }
    let training = try #require(try Fixtures.json("training.json").array).map(Listed.init)
    #expect(try PyTorchFile(path: Fixtures.path("old-training.bin")).tensors.map(Listed.init) == training)
  }

  @Test("a call in the form before 1.6 is refused, too, and the function is named")
  func oldCalls() throws {
    let error = #expect(throws: LimnError.self) { try PyTorchFile(path: Fixtures.path("old-command.bin")) }
    #expect(error?.kind == .badData && error?.description.contains("posix.system") == true)
  }

  @Test("contradictions in the form before 1.6 are refused")
  func oldContradictions() throws {
    let bytes = try Fixtures.bytes("old.bin")
    func refusal(_ change: (inout [UInt8]) throws -> Void) throws -> String {
      var changed = bytes
      try change(&changed)
      return try Fixtures.with(changed, as: "x.bin") { path in
        let error = #expect(throws: LimnError.self) { try PyTorchFile(path: path) }
        #expect(error?.kind == .badData)
        return error?.description ?? ""
      }
    }
    func place(of text: String) throws -> Int {
      try #require(Data(bytes).range(of: Data(text.utf8))).lowerBound
    }
    // 4 × 6 float32 values, preceded by their count.
    let count = bytes.count - 4 * 24 - 8
    #expect(try refusal { $0[count] = 23 }.contains("another size"))
    #expect(try refusal { $0.removeLast() }.contains("the file ends inside storage"))
    #expect(try refusal { $0[try place(of: "little_endian") + 13 + 2] = 0x89 }.contains("big-endian"))
    // A digit of the storage's key in its description, not in the list.
    let key = try place(of: "FloatStorage") + "FloatStorage\nq".count + 1 + 5
    #expect(try refusal { $0[key] = UInt8(ascii: "x") }.contains("no tensor lies in"))
    // 1001 as u16 after the magic number's 15 bytes and a pickle's first three.
    #expect(try refusal { $0[18] = 1 }.contains("version"))
  }

  @Test(
    "newer pickles, 64-bit zip entries and the form before 1.6 are read",
    arguments: ["protocol4.bin", "zip64.bin", "old.bin", "old4.bin"])
  func forms(name: String) throws {
    let expected = Listed(try #require(try Fixtures.json("pytorch.json").array?.first)).hex
    #expect(try PyTorchFile(path: Fixtures.path(name)).tensors.map { Listed($0).hex } == [expected])
  }

  @Test("a pickle that calls a command or contains a module is refused, and the error names it")
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
    "a truncated or damaged file never crashes the reader; a truncated one is refused",
    arguments: ["types.bin", "protocol4.bin", "old-training.bin", "old4.bin"])
  func damage(name: String) throws {
    let bytes = try Fixtures.bytes(name)
    let (cut, refused) = try survivesDamage(bytes, as: "x.bin", flips: 3000) {
      try PyTorchFile(path: $0).tensors
    }
    #expect(cut.isEmpty)
    #expect(refused > 100)
  }
}
