import Foundation
import Limn
import LimnCore
import LimnFiles
import LimnTensor
import LimnTesting
import Testing

/// Adapters that stay unmerged, against peft on the same bases; on a GGUF base, against peft on its values in PyTorch.
@Suite struct AdapterTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let base: String
    let adapter: String?
    let logits: String
    var testDescription: String { name }

    static let folder = ModelCase.root + "/../adapters/"
    static let json = try? JSON.parse(file: folder + "cases.json")
    static let ids = (json?["input_ids"]?.array ?? []).compactMap(\.int)
    static let tolerance = json?["tolerance"]?.double ?? 0
    static let all = (json?["cases"]?.array ?? []).map { row in
      Case(
        name: row["name"]?.string ?? "", base: folder + (row["base"]?.string ?? ""),
        adapter: row["adapter"]?.string.map { folder + $0 }, logits: folder + (row["logits"]?.string ?? ""))
    }

    func expected() throws -> [[Float]] {
      let array = try NumpyFile(logits)
      let width = array.shape[1], values = array.floats
      return (0..<array.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }
  }

  private func open(_ base: String, adapters: [String]) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.precision = .exact
    options.context = 256
    options.adapters = adapters
    return try await VisionLanguageModel.load(base, options: options)
  }

  @Test("logits with an adapter equal the reference's on any base", arguments: Case.all)
  func reference(_ item: Case) async throws {
    let model = try await open(item.base, adapters: item.adapter.map { [$0] } ?? [])
    let logits = try await model.logits(ids: Case.ids, images: [])
    #expect(largestError(logits, try item.expected()) <= Case.tolerance)
  }

  @Test("an adapter's folder with a quantised base opens as a model, and the adapter stays unmerged")
  func quantisedBase() async throws {
    let item = try #require(Case.all.first { $0.name == "nf4-all" })
    var options = LoadOptions()
    options.precision = .exact
    options.context = 256
    options.base = item.base
    let model = try await VisionLanguageModel.load(try #require(item.adapter), options: options)
    let logits = try await model.logits(ids: Case.ids, images: [])
    #expect(largestError(logits, try item.expected()) <= Case.tolerance)
  }

  @Test("questions with different adapters in one batch are answered as if each were alone")
  func sideBySide() async throws {
    let cases = ["float-base", "float-qv", "float-all"].compactMap { name in Case.all.first { $0.name == name } }
    let model = try await open(cases[0].base, adapters: cases.compactMap(\.adapter))
    let prompt = PromptInputs(tokens: Case.ids.map(Int32.init))
    let requests = [[], [0], [1], [0, 1]].map { adapters in
      var request = SequenceRequest(prompt: prompt, maxTokens: 12)
      request.adapters = adapters
      request.reuse = true
      return request
    }
    var alone: [[Int32]] = []
    for request in requests { alone.append(try await model.engine.said([request])[0].tokens) }
    #expect(Set(alone).count == 4)
    await model.engine.forget()
    let together = try await model.engine.said(requests)
    #expect(together.map(\.tokens) == alone)
    for (index, item) in cases.enumerated() {
      let last = try item.expected().last ?? []
      #expect(Int(alone[index][0]) == last.indices.max { last[$0] < last[$1] })
    }
  }

  @Test("the name of an adapter that was not loaded is refused")
  func unknown() async throws {
    let item = try #require(Case.all.first { $0.name == "float-qv" })
    let model = try await open(item.base, adapters: [try #require(item.adapter)])
    #expect(model.adapters == ["float-qv"])
    var options = GenerationOptions()
    options.adapters = ["another"]
    let error = await #expect(throws: LimnError.self) { try await model.ask("hello", options: options) }
    #expect(error?.kind == .usage)
  }
}
