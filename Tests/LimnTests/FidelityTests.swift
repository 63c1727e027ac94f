import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTesting
import Testing

@Suite struct FidelityTests {
  @Test(
    "logits equal transformers', from ids with one token per image and from expanded ids",
    arguments: ModelCase.all)
  func logits(_ testCase: ModelCase) async throws {
    let model = try await testCase.open()
    let images = try await model.encode(testCase.sources)
    let expected = try testCase.expectedLogits()
    let logits = try await model.logits(ids: testCase.inputIDs, images: images)
    #expect(largestError(testCase.positions.map { logits[$0] }, expected) <= testCase.tolerance)
    if let expanded = testCase.expandedIDs, !testCase.images.isEmpty {
      let again = try await model.logits(ids: expanded, images: images)
      #expect(again == logits, "expanded ids mean the same")
    }
  }

  @Test("a prompt becomes the reference's ids, and the greedy answer is the reference's text", arguments: ModelCase.all)
  func greedyText(_ testCase: ModelCase) async throws {
    let model = try await testCase.open()
    let answer = try await model.answer(testCase.request())
    let trimmed = { (text: String) in text.trimmingCharacters(in: .whitespacesAndNewlines) }
    #expect(trimmed(answer.text) == trimmed(testCase.greedyText))
    #expect(answer.finishReason == .length)
    #expect(answer.usage.completionTokens == testCase.greedyCount)
    #expect(answer.usage.imageTokens == testCase.imageTokens)
    #expect(
      answer.usage.promptTokens == testCase.inputIDs.count - testCase.images.count + testCase.imageTokens)
  }

  @Test(
    "image embeddings equal transformers'",
    arguments: ModelCase.all.filter { FileManager.default.fileExists(atPath: $0.folder + "/embed.npy") })
  func embeddings(_ testCase: ModelCase) async throws {
    let model = try await testCase.open()
    let embedding = try await model.encode([testCase.sources[0]])[0]
    let expected = try testCase.expectedLogits("embed.npy")
    let rows = (0..<embedding.rows).map { row in
      Array(embedding.values[row * embedding.width..<(row + 1) * embedding.width])
    }
    #expect(largestError(rows, expected) <= testCase.tolerance)
  }

  @Test(
    "text logits and tokens equal llama.cpp's, too",
    arguments: ModelCase.all.filter { FileManager.default.fileExists(atPath: $0.folder + "/llamacpp.json") })
  func llamaCpp(_ testCase: ModelCase) async throws {
    let json = try JSON.parse(file: testCase.folder + "/llamacpp.json")
    let model = try await testCase.open()
    let ids = (json["input_ids"]?.array ?? []).compactMap(\.int)
    let logits = try await model.logits(ids: ids, images: [])
    let positions = (json["positions"]?.array ?? []).compactMap(\.int)
    let expected = try testCase.expectedLogits(json["logits"]?.string ?? "")
    #expect(largestError(positions.map { logits[$0] }, expected) <= json["tolerance"]?.double ?? 0)
  }

  @Test(
    "fast stays close to exact: the cosine of every embedding, and the distribution of the next token",
    arguments: ModelCase.all)
  func fast(_ testCase: ModelCase) async throws {
    let (exact, fast) = (try await testCase.open(), try await testCase.open(.fast))
    let (exactImages, fastImages) = (
      try await exact.encode(testCase.sources), try await fast.encode(testCase.sources)
    )
    for (a, b) in zip(exactImages, fastImages) {
      for row in 0..<a.rows {
        let range = row * a.width..<(row + 1) * a.width
        #expect(cosine(a.values[range], b.values[range]) >= 0.999)
      }
    }
    let expected = try await exact.logits(ids: testCase.inputIDs, images: exactImages)
    let got = try await fast.logits(ids: testCase.inputIDs, images: fastImages)
    let divergence = zip(expected, got).map(divergenceInNats).reduce(0, +) / Double(expected.count)
    #expect(divergence <= 1e-3)
  }

  private func cosine(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
    var (ab, aa, bb) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
      ab += Double(x) * Double(y)
      aa += Double(x) * Double(x)
      bb += Double(y) * Double(y)
    }
    return ab / (aa * bb).squareRoot()
  }
}
