import Foundation
import LimnFiles
import LimnCore
import LimnTensor
import Testing

/// Locations of test data.
enum Fixtures {
  private static let package = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
    .deletingLastPathComponent()

  /// A file that Tools/fixtures/files.py wrote.
  static func path(_ name: String) -> String {
    package.appending(path: "Tests/Fixtures/Files/\(name)").path()
  }

  /// Acceptance cases next to the package. Present in continuous integration, not in a user's clone.
  static let acceptance = package.appending(path: "../shared/checks/cases").standardized.path()
  static let hasAcceptance = FileManager.default.fileExists(atPath: acceptance)

  static func json(_ name: String) throws -> JSON { try JSON.parse(file: path(name)) }

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: path(name))))
  }

  /// Runs `body` with a file, or with a folder that contains one, and removes it afterwards.
  static func with<R>(_ bytes: [UInt8], as name: String, _ body: (String) throws -> R) throws -> R {
    let folder = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: name)
    try Data(bytes).write(to: file)
    return try body(file.path())
  }

  /// Runs `body` with a folder of the given text files.
  static func withFolder<R>(_ texts: [String: String], _ body: (String) throws -> R) throws -> R {
    try with([], as: "marker") { marker in
      let folder = String(marker.dropLast("/marker".count))
      for (name, text) in texts {
        let file = URL(filePath: folder).appending(path: name)
        try FileManager.default.createDirectory(
          at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
      }
      return try body(folder)
    }
  }
}

/// A tensor's entry in a fixture's listing.
struct Listed: Equatable {
  let name: String
  let type: String
  let shape: [Int]
  let hex: String

  init(_ json: JSON) {
    name = json["name"]?.string ?? ""
    type = json["type"]?.string ?? ""
    shape = json["shape"]?.array?.compactMap(\.int) ?? []
    hex = json["hex"]?.string ?? ""
  }

  init(_ entry: NamedTensor) {
    name = entry.name
    type = entry.tensor.type.rawValue
    shape = entry.tensor.shape
    hex = entry.tensor.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

/// A seeded generator, so that failures can be reproduced.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Damages a file in every way: truncated at each byte, and changed at random positions. The reader must
/// always return, with readable tensors or with a one-line error.
func survivesDamage(
  _ bytes: [UInt8], as name: String, flips: Int, read: (String) throws -> [NamedTensor]
) throws -> (cutAccepted: [Int], refused: Int) {
  try Fixtures.with([], as: name) { path in
    func accepts(_ damaged: [UInt8]) throws -> Bool {
      try Data(damaged).write(to: URL(filePath: path))
      do {
        for entry in try read(path) {
          _ = entry.tensor.count
          _ = entry.tensor.bytes.last
        }
        return true
      } catch let error as LimnError {
        #expect(!error.description.contains { $0.isNewline })
        return false
      }
    }
    let cutAccepted = try (0..<bytes.count).filter { try accepts(Array(bytes[..<$0])) }
    var random = SplitMix(state: 42)
    var refused = 0
    for _ in 0..<flips {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        damaged[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
      }
      if try !accepts(damaged) { refused += 1 }
    }
    return (cutAccepted, refused)
  }
}
