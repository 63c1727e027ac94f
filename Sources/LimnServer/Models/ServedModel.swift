import Crypto
import Foundation
import Limn
import LimnCore
import LimnFiles

/// A model that the server can open, as lists show it: its name, and what its files say without being read whole.
package struct ServedModel: Sendable {
  /// The name by which clients call it.
  package let id: String
  /// What the person who started the server named it; never shown to clients.
  let reference: String
  let summary: ModelSummary?
  /// Why it does not open.
  let problem: LimnError?
  let demand: ModelDemand?
  let modified: Date
  let template: String

  init(id: String, reference: String, options: LoadOptions) {
    self.id = id
    self.reference = reference
    var (summary, problem, demand, template): (ModelSummary?, LimnError?, ModelDemand?, String) = (nil, nil, nil, "")
    do throws(LimnError) {
      let parts = try ModelParts(found: options.location(of: reference), options)
      summary = ModelSummary(parts)
      problem = parts.problem
      demand = ModelDemand(of: parts, options)
      template = parts.conversation?.source ?? ""
    } catch {
      problem = error
    }
    (self.summary, self.problem, self.demand, self.template) = (summary, problem, demand, template)
    let attributes = try? FileManager.default.attributesOfItem(atPath: reference)
    modified = attributes?[.modificationDate] as? Date ?? Date(timeIntervalSince1970: 0)
  }

  /// Bytes of its files.
  var fileBytes: Int { summary?.files.reduce(0) { $0 + $1.bytes } ?? 0 }

  /// Bytes in memory with a full context.
  package var memoryBytes: Int { demand?.bytes ?? fileBytes }

  var contextLength: Int { summary?.context?.used ?? 0 }

  /// "llama", "phi3".
  var architecture: String { summary?.language?.architecture ?? "unknown" }

  /// "Q4_K" or "F16": the type with the largest share.
  var quantization: String { summary?.types.first?.type ?? "unknown" }

  /// "7.1B", "630K".
  var parameterSize: String {
    let count = Double(summary?.parameters.total ?? 0)
    for (unit, size) in [("B", 1e9), ("M", 1e6), ("K", 1e3)] where count >= size {
      let number = count / size
      return number >= 100 ? "\(Int(number.rounded()))\(unit)" : "\((number * 10).rounded() / 10)\(unit)"
    }
    return "\(Int(count))"
  }

  var isGGUF: Bool { summary?.layout == "gguf" }

  var hasVision: Bool { summary?.vision != nil }

  /// Tells versions of the model apart. It is made from names, sizes and times: the files are not read for it.
  var digest: String {
    let files = summary?.files.map { "\($0.path.split(separator: "/").last ?? "") \($0.bytes)" } ?? []
    let text = ([id] + files + ["\(modified.timeIntervalSince1970)"]).joined(separator: "\n")
    return SHA256.hash(data: Data(text.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}

extension ServedModel {
  /// Models with names of their own: the last part of what they were named, and a number where that is taken.
  static func all(_ references: [String], options: LoadOptions) -> [ServedModel] {
    var models: [ServedModel] = []
    for reference in references {
      let file = URL(fileURLWithPath: reference).lastPathComponent
      let base = file.lowercased().hasSuffix(".gguf") ? String(file.dropLast(5)) : file
      let name = base.isEmpty ? "model" : base
      var (id, number) = (name, 2)
      while models.contains(where: { $0.id == id }) { (id, number) = ("\(name)-\(number)", number + 1) }
      models.append(ServedModel(id: id, reference: reference, options: options))
    }
    return models
  }
}
