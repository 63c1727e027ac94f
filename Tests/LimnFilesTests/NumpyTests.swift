import Foundation
import LimnCore
import LimnFiles
import LimnTesting
import Testing

@Suite("NumPy arrays") struct NumpyTests {
  private func write(_ path: String, _ shape: [Int], _ parts: [[Float]]) throws {
    var writer = try NumpyWriter(path, shape: shape)
    for part in parts { try part.withUnsafeBufferPointer { try writer.append($0) } }
  }

  @Test("a file has the bytes that numpy.save writes")
  func bytes() throws {
    let folder = try TemporaryFolder()
    try write(folder.path("x.npy"), [2], [[1.5], [-2]])
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    var expected = Data([0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0]) + Data(header.utf8)
    expected += Data(repeating: 0x20, count: 117 - header.utf8.count) + Data([0x0A, 0, 0, 0xC0, 0x3F, 0, 0, 0, 0xC0])
    #expect(try Data(contentsOf: URL(filePath: folder.path("x.npy"))) == expected)
  }

  @Test("arrays of every shape are read as they were written", arguments: [[3], [2, 3], [1, 2, 2, 2], [0, 4], []])
  func roundTrip(shape: [Int]) throws {
    let folder = try TemporaryFolder()
    let values = (0..<shape.reduce(1, *)).map { Float($0) / 7 }
    try write(folder.path("x.npy"), shape, [values])
    let file = try NumpyFile(folder.path("x.npy"))
    #expect(file.shape == shape && file.element == .float32 && file.floats == values)
    #expect(folder.names == ["x.npy"])
  }

  @Test("a file appears when it is whole, and one that never is leaves nothing")
  func whole() throws {
    let folder = try TemporaryFolder()
    try folder.write("x.npy", Data("older".utf8))
    do {
      var writer = try NumpyWriter(folder.path("x.npy"), shape: [4])
      try [Float](repeating: 1, count: 3).withUnsafeBufferPointer { try writer.append($0) }
      #expect(folder.names == ["x.npy", "x.npy.partial"])
    }
    #expect(folder.names == ["x.npy"])
    #expect(try Data(contentsOf: URL(filePath: folder.path("x.npy"))) == Data("older".utf8))
    let error = #expect(throws: LimnError.self) { _ = try NumpyWriter(folder.path("no/x.npy"), shape: [1]) }
    #expect(error?.kind == .unavailable)
  }

  @Test("a pipe is written into and not replaced", .timeLimit(.minutes(1)))
  func pipe() throws {
    let folder = try TemporaryFolder()
    let path = folder.path("pipe")
    #expect(mkfifo(path, 0o600) == 0)
    let reading = open(path, O_RDONLY | O_NONBLOCK)
    defer { close(reading) }
    try write(path, [2], [[1, 2]])
    var bytes = [UInt8](repeating: 0, count: 200)
    #expect(read(reading, &bytes, bytes.count) == 128 + 8)
    #expect(folder.names == ["pipe"])
  }

  @Test("what is damaged, or no array of float32 or uint8 in C order, is refused")
  func refusals() throws {
    let folder = try TemporaryFolder()
    try write(folder.path("x.npy"), [2, 2], [[1, 2, 3, 4]])
    let whole = try Data(contentsOf: URL(filePath: folder.path("x.npy")))
    var damaged = (0..<whole.count).map { whole.prefix($0) } + [whole + [0]]
    for (from, to) in [
      ("<f4", ">f4"), ("False", "True "), ("(2, 2)", "(2, 3)"), ("(2, 2)", "(-2,-2)"), ("(2, 2)", "(a, 2)"),
      ("(2, 2)", "(9223372036854775807, 9223372036854775807)"), ("NUMPY", "NUMPI"),
    ] {
      var bytes = whole
      bytes.replaceSubrange(try #require(bytes.range(of: Data(from.utf8))), with: Data(to.utf8))
      damaged.append(bytes)
    }
    for bytes in damaged {
      let path = try folder.write("y.npy", bytes)
      let error = #expect(throws: LimnError.self) { try NumpyFile(path) }
      #expect(error?.kind == .badData)
    }
  }
}
