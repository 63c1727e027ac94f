package import LimnCore
import LimnTensor

/// A GGUF language model and, if there is one, the GGUF file with its vision tower and projector.
package struct GGUFPair: Sendable {
  package private(set) var language: GGUF
  package private(set) var projector: GGUF?
  /// Names of other files in the folder that would do as well as the chosen `projector`.
  package private(set) var alternatives: [String] = []
  /// The projector files in the folder with their output widths, if none of them fits.
  private(set) var misfits: [(name: String, width: Int)] = []
  /// The projector files that fit, if nothing says which is meant.
  private(set) var undecided: [String] = []

  /// Opens both. Files given in the wrong order are swapped: a projector identifies itself. If none is named, this
  /// takes one from the model's folder, whatever its name, whose embeddings are as wide as the model's.
  package init(_ location: ModelLocation) throws(LimnError) {
    language = try GGUF(path: location.model)
    if let path = location.projector {
      let other = try GGUF(path: path)
      projector = other
      if language.isProjector, !other.isProjector { (language, projector) = (other, language) }
    } else if !language.isProjector {
      try choose(besides: location.model)
    }
  }

  init(_ language: GGUF, _ projector: GGUF?) {
    self.language = language
    self.projector = projector
  }

  /// Refuses another model's projector.
  func check() throws(LimnError) {
    let place = language.path
    guard misfits.isEmpty else {
      throw LimnError.badData(
        "no projector file beside the model fits it", in: place,
        expected: "embeddings of \(language.embeddingWidth ?? 0) values",
        found: misfits.map { "\($0.width) in \($0.name)" }.joined(separator: ", "),
        remedy: "name this model's projector file with \(.projector)")
    }
    guard undecided.isEmpty else {
      throw LimnError.badData(
        "several projector files beside the model fit it, and its name does not tell which belongs to it", in: place,
        found: undecided.prefix(4).joined(separator: ", ") + (undecided.count > 4 ? ", …" : ""),
        remedy: "name one with \(.projector)")
    }
    guard let projector, let made = projector.projectedWidth, let read = language.embeddingWidth, made != read else {
      return
    }
    throw LimnError.badData(
      "the projector file is another model's", in: projector.path,
      expected: "embeddings of \(read) values, as the language model reads them", found: "\(made)",
      remedy: "name the projector file that belongs to this model with \(.projector)")
  }

  // MARK: Files side by side

  private struct Candidate {
    let name: String
    let file: GGUF
    /// The length of the longest part of the model's name that its own contains.
    let nearness: Int
    /// Average bits per value.
    let precision: Double

    init(_ name: String, _ file: GGUF, model: String) {
      self.name = name
      self.file = file
      nearness = Array(name.lowercased().utf8).longestCommonPart(with: Array(model.utf8))
      let tensors = file.tensors.map(\.tensor)
      let values = tensors.reduce(0) { $0 + $1.count }
      precision = 8 * Double(tensors.reduce(0) { $0 + $1.range.count }) / Double(max(1, values))
    }

    var rank: (Int, Int, Double) { (file.projectedWidth == nil ? 0 : 1, nearness, precision) }
  }

  /// Picks a projector of the right width; of several, the one with the most similar name, then the most precise.
  private mutating func choose(besides path: String) throws(LimnError) {
    let folder = Folder.holding(path)
    let model = path.split(separator: "/").last.map(String.init) ?? path
    let modelName = Self.withoutType(model)
    if let parts = OllamaManifest.parts(of: path) {
      if let path = parts.projector { projector = try GGUF(path: path) }
      return
    }
    var candidates: [Candidate] = []
    var broken: LimnError?
    for name in folder.names where name != model && GGUF.begins(folder.path(name)) {
      do throws(LimnError) {
        guard try GGUF.architecture(ofFile: folder.path(name)) == GGUF.projectorArchitecture else { continue }
        candidates.append(Candidate(name, try GGUF(path: folder.path(name)), model: modelName))
      } catch {
        // A broken file may be a language model; only its name suggests which.
        if name.lowercased().contains("mmproj") { broken = broken ?? error }
      }
    }
    let width = language.embeddingWidth
    // Projectors of unknown width come last: whoever opens one reports what it is.
    let fitting = candidates.filter { width == nil || $0.file.projectedWidth ?? width == width }
      .sorted { $0.rank > $1.rank }
    if fitting.count > 1, !model.hasSuffix(".gguf") {
      // Such names, digests mostly, tell nothing about what belongs together.
      undecided = fitting.map(\.name)
    } else if let best = fitting.first {
      projector = best.file
      alternatives = fitting.dropFirst().map(\.name)
    } else if let broken {
      throw broken
    } else {
      misfits = candidates.map { ($0.name, $0.file.projectedWidth ?? 0) }
    }
  }
}

extension GGUFPair {
  /// "LLaVA-7B-Q4_K_M.gguf" → "llava-7b": a projector's type often differs from its model's.
  private static func withoutType(_ name: String) -> String {
    let stem = GGUF.stem(of: name).lowercased()
    guard let separator = stem.lastIndex(where: { $0 == "-" || $0 == "." }) else { return stem }
    let last = stem[stem.index(after: separator)...]
    let letters = last.prefix { $0.isLetter }
    let isType =
      ["q", "iq", "tq", "f", "bf"].contains(letters) && last.dropFirst(letters.count).first?.isNumber == true
    return isType ? String(stem[..<separator]) : stem
  }
}

extension GGUF {
  static let projectorArchitecture = "clip"

  /// Whether this file holds a vision tower and projector, not a language model.
  package var isProjector: Bool { architecture == Self.projectorArchitecture }

  /// The hidden size of a language model: the width of its token embeddings.
  package var embeddingWidth: Int? {
    let said = architecture.flatMap { self["\($0).embedding_length"]?.int }
    return tensor("token_embd.weight")?.shape.last ?? said
  }

  /// The width of a projector's output; nil if limn does not know this kind of projector.
  package var projectedWidth: Int? {
    let names = GGUFNames(self)
    let last = tensors.first { names.place(of: $0.name) == .named("multi_modal_projector.linear_2.weight") }
    return last?.tensor.shape.first
  }
}

extension Array<UInt8> {
  /// The length of the longest run of bytes that occurs in both.
  fileprivate func longestCommonPart(with other: [UInt8]) -> Int {
    var (longest, ends) = (0, [Int](repeating: 0, count: other.count + 1))
    for byte in self {
      var diagonal = 0
      for (index, otherByte) in other.enumerated() {
        let length = byte == otherByte ? diagonal + 1 : 0
        diagonal = ends[index + 1]
        ends[index + 1] = length
        longest = Swift.max(longest, length)
      }
    }
    return longest
  }
}
