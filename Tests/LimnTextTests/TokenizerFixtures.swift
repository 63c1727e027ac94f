import Foundation
import LimnFiles
import LimnCore
import LimnText

/// One tokenizer's fixture, written by `Tools/fixtures/tokenizing.py`.
struct TokenizerFixture {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/Tokenizers").path

  /// The folders with tokenizers, by name.
  static let names: [String] =
    (try? FileManager.default.contentsOfDirectory(atPath: folder))?
    .filter { !$0.contains(".") }.sorted() ?? []

  let tokenizer: Tokenizer
  private let cases: JSON

  init(_ name: String) throws {
    tokenizer = try Tokenizer(.folder(path: Self.folder + "/" + name))
    cases = try JSON.parse(file: Self.folder + "/" + name + "/cases.json")
  }

  /// Texts and their ids: "encode" with the tokenizer's special tokens added, "plain" without.
  func texts(_ key: String) -> [(text: String, ids: [Int])] {
    cases[key]!.array!.map { ($0.array![0].string!, $0.array![1].array!.map { $0.int! }) }
  }

  /// Ids, their text, and the text without special tokens.
  var ids: [(ids: [Int], text: String, withoutSpecial: String)] {
    cases["decode"]!.array!.map { row in
      (row.array![0].array!.map { $0.int! }, row.array![1].string!, row.array![2].string!)
    }
  }
}

extension Tokenizer {
  /// The concatenated output of streaming detokenization.
  func streamed(_ ids: [Int], skipSpecial: Bool = false) -> String {
    var detokenizer = StreamingDetokenizer(self, skipSpecial: skipSpecial)
    return ids.map { detokenizer.append($0) }.joined() + detokenizer.finish()
  }
}

/// A folder that exists for one test.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ text: String, to name: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path + "/" + name))
  }
}

/// Exact comparison, not up to canonical equivalence.
func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
