import ArgumentParser
import Foundation
import LimnFiles
import LimnCore
import LimnTensor

struct DebugTensors: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tensors",
    abstract: "List the tensors in a model's files, of any architecture, or write one as float32.")

  @OptionGroup var load: LoadArguments

  @Flag(help: "Print a JSON array.")
  var json = false

  @Option(help: ArgumentHelp("Write this tensor, by its name in the file.", valueName: "name"))
  var tensor: String?

  @Option(help: ArgumentHelp("Where to write it.", valueName: "x.npy"))
  var output: String?

  func validate() throws {
    guard (tensor == nil) == (output == nil) else {
      throw ValidationError("--tensor and --output go together.")
    }
  }

  func run() throws {
    let weights = try RawWeights.open(load.location)
    let tensors = weights.tensors
    if let tensor, let output { return try write(tensor, of: weights, to: output) }
    if json {
      let rows = tensors.map { entry -> JSON in
        .object([
          "name": .string(entry.name), "model_name": entry.modelName.map(JSON.string) ?? .null,
          "type": .string(entry.tensor.type.rawValue),
          "shape": .array(entry.tensor.shape.map(JSON.integer)),
        ])
      }
      return Terminal.print(JSON.array(rows).serialised())
    }
    for entry in tensors {
      let shape = entry.tensor.shape.map(String.init).joined(separator: " × ")
      let place = entry.modelName.map { $0 == entry.name ? "" : "  → \($0)" } ?? "  (unused)"
      Terminal.print("\(entry.name)  \(entry.tensor.type.rawValue)  [\(shape)]\(place)")
    }
  }

  private func write(_ name: String, of weights: RawWeights, to output: String) throws {
    guard let entry = weights.tensors.first(where: { $0.name == name }) else {
      throw LimnError(
        .usage, "there is no tensor \(name)", in: try load.reference,
        remedy: "`limn debug tensors` lists them")
    }
    let tensor = try weights.weight(of: entry).resolved(on: CPU(precision: .exact))
    let values = try dequantized(tensor)
    var file = try NumpyWriter(output, shape: tensor.shape)
    try values.withUnsafeBufferPointer { try file.append($0) }
  }
}
