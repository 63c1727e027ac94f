import Foundation
import Limn
import Testing

/// The root of the repository.
let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

@Suite struct DocumentTests {
  @Test("every Swift example of the documents is compiled here, word for word")
  func documentedExamples() throws {
    let source = try words(of: text("Tests/LimnAPITests/DocumentedExamples.swift"))
    var examples = 0
    for document in try documents() {
      for example in try swiftBlocks(in: text(document)) {
        let lines = example.split(separator: "\n")
        for line in lines where line.hasPrefix("import ") {
          #expect(source.contains(words(of: String(line))), "\(document): \(line)")
        }
        let rest = words(of: lines.filter { !$0.hasPrefix("import ") }.joined(separator: "\n"))
        #expect(source.contains(rest), "\(document) has an example that is not in DocumentedExamples.swift: \(example)")
        examples += 1
      }
    }
    #expect(examples >= 6)
  }

  @Test("an example whose model is not there says so")
  func missingModel() async throws {
    for example in [askAboutAPhoto, askAModel] {
      let error = await #expect(throws: LimnError.self) { try await example() }
      #expect(error?.code == .modelNotFound)
      #expect(error?.kind == .notFound)
    }
  }

  @Test("an example whose pictures are not there says so")
  func missingImages() async throws {
    let model = try await VisionLanguageModel.load(DemoModel.path())
    var error = await #expect(throws: LimnError.self) { try await showWhileItIsMade(model) }
    #expect(error?.code == .imageNotFound)
    #expect(error?.place == "a.png")
    #expect(twoImages().images == [.path("a.png"), .path("b.png")])
    #expect(questionsAboutImages().map(\.images.count) == [1, 2])
    error = await #expect(throws: LimnError.self) { try await model.answer(Request([twoImages()])) }
    #expect(error?.code == .imageNotFound)
  }

  /// README, the pages of docs and of DocC, and the library's own comments.
  private func documents() throws -> [String] {
    let all = ["README.md"] + (try files(in: "docs", ending: "md")) + (try files(in: "Sources/Limn", ending: "md"))
    return all + (try files(in: "Sources/Limn", ending: "swift"))
  }

  private func swiftBlocks(in text: String) -> [String] {
    var blocks: [String] = []
    var block: [Substring]?
    for var line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("/// ") { line = line.dropFirst(4) }
      if line.hasPrefix("```swift") {
        block = []
      } else if line.hasPrefix("```") {
        if let block { blocks.append(block.joined(separator: "\n")) }
        block = nil
      } else {
        block?.append(line)
      }
    }
    return blocks
  }

  private func words(of text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
}

func text(_ path: String) throws -> String {
  try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
}

/// Paths below a folder, from the root of the repository.
func files(in folder: String, ending: String) throws -> [String] {
  try FileManager.default.subpathsOfDirectory(atPath: root.appendingPathComponent(folder).path)
    .filter { $0.hasSuffix("." + ending) }.sorted().map { folder + "/" + $0 }
}
