import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor
import LimnTesting
import Testing

/// A reference implementation's results for one tiny checkpoint, one prompt and its images.
struct ModelCase: Sendable, CustomTestStringConvertible {
  let name: String
  let folder: String
  let model: String
  /// The projector file of a GGUF model, if it is not beside the model.
  let projectorFile: String?
  let images: [String]
  let preprocess: PreprocessPolicy
  let prompt: String
  let inputIDs: [Int]
  let expandedIDs: [Int]?
  let imageTokens: Int
  /// The positions that `logits.npy` covers.
  let positions: [Int]
  let greedyText: String
  let greedyCount: Int
  /// In units of the reference's standard deviation.
  let tolerance: Double

  var testDescription: String { name }

  /// Fixtures/Models in the folder of the tests.
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/Models").path

  /// All cases, as `cases.json` lists them.
  static let all: [ModelCase] = {
    do {
      let names = try JSON.parse(file: root + "/cases.json").array?.compactMap { $0["name"]?.string } ?? []
      return try names.map(ModelCase.init)
    } catch {
      preconditionFailure("the fixtures of models cannot be read: \(error)")
    }
  }()

  init(_ name: String) throws {
    self.name = name
    folder = Self.root + "/cases/" + name
    let json = try JSON.parse(file: folder + "/case.json")
    func ids(_ key: String) -> [Int]? { json[key]?.array?.compactMap(\.int) }
    let folder = folder
    model = folder + "/" + (json["model"]?.string ?? "")
    projectorFile = json["mmproj"]?.string.map { folder + "/" + $0 }
    images = (json["images"]?.array ?? []).compactMap(\.string).map { folder + "/" + $0 }
    preprocess = json["preprocess"]?.string.flatMap(PreprocessPolicy.init) ?? .hf
    prompt = json["prompt"]?.string ?? ""
    inputIDs = ids("input_ids") ?? []
    expandedIDs = ids("expanded_ids")
    imageTokens = json["image_tokens"]?.int ?? 0
    positions = ids("positions") ?? []
    greedyText = json["greedy_text"]?.string ?? ""
    greedyCount = ids("greedy_ids")?.count ?? 0
    tolerance = json["tolerance"]?.double ?? 1e-3
  }

  /// Opens the model. Some checkpoints (a GGUF pair) share a folder with others, and find their own parts.
  func open(
    _ precision: Precision = .exact, _ change: (inout LoadOptions) -> Void = { _ in }
  ) async throws -> VisionLanguageModel {
    var options = LoadOptions()
    options.precision = precision
    options.preprocess = preprocess
    options.projectorFile = projectorFile
    // More than the tiny configs allow, because some cases and tests go beyond the trained context.
    options.context = 1024
    change(&options)
    return try await VisionLanguageModel.load(model, options: options)
  }

  var sources: [ImageSource] { images.map(ImageSource.path) }

  /// The reference's logits: one row for each of `positions`.
  func expectedLogits(_ file: String = "logits.npy") throws -> [[Float]] {
    let array = try NumpyFile(folder + "/" + file)
    let width = array.shape[1]
    let values = array.floats
    return (0..<array.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }

  func request(_ precision: Precision = .exact) -> Request {
    var options = GenerationOptions()
    options.maxTokens = greedyCount
    return Request(rawPrompt: prompt, images: sources, options: options)
  }
}

/// The largest difference, in units of the expected values' standard deviation.
func largestError(_ got: [[Float]], _ expected: [[Float]]) -> Double {
  guard got.count == expected.count, zip(got, expected).allSatisfy({ $0.count == $1.count }) else {
    return .infinity
  }
  let flat = expected.flatMap { $0.map(Double.init) }
  let mean = flat.reduce(0, +) / Double(flat.count)
  let deviation = (flat.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(flat.count)).squareRoot()
  let worst = zip(got.joined(), expected.joined()).map { abs(Double($0) - Double($1)) }.max() ?? .infinity
  return worst.isNaN ? .infinity : worst / deviation
}

/// The Kullback-Leibler divergence of two lists of logits.
func divergenceInNats(_ p: [Float], _ q: [Float]) -> Double {
  func logarithms(_ logits: [Float]) -> [Double] {
    let top = Double(logits.max() ?? 0)
    let sum = logits.reduce(0.0) { $0 + exp(Double($1) - top) }
    return logits.map { Double($0) - top - log(sum) }
  }
  return zip(logarithms(p), logarithms(q)).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
}
