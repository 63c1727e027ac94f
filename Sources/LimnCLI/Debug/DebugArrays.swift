import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnHub
import LimnImage
import LimnCore
import LimnTensor

/// What the commands share that run parts of a model: here `exact` is the default.
struct DebugModelOptions: ParsableArguments {
  @OptionGroup var arguments: LoadArguments

  @Option(help: ArgumentHelp("Where the array is written.", valueName: "x.npy"))
  var output: String

  func load() async throws -> VisionLanguageModel {
    var options = arguments.options
    options.precision = arguments.precision ?? .exact
    // As the references do: a prompt may be longer than what the model was trained for.
    options.context = arguments.context ?? 8192
    return try await arguments.load(options)
  }
}

struct DebugPreprocess: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "preprocess", abstract: "A picture as the vision tower reads it: float32 [tiles, 3, H, W].")

  @OptionGroup var load: LoadArguments
  @Option(help: "The picture.") var image: String
  @Option(help: ArgumentHelp("Where the array is written.", valueName: "x.npy")) var output: String

  func run() async throws {
    let parts = try ModelParts(load.location, load.options, steps: [.files, .imageProcessor])
    let picture = try parts.require(parts.processor).process(try await ImageReference(image).source().image())
    var file = try NumpyWriter.begin(output, shape: [picture.tiles, 3, picture.height, picture.width])
    try picture.pixels.withUnsafeBufferPointer { try file.append($0) }
  }
}

struct DebugEmbed: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "A picture as the language model reads it: float32 [imageTokens, hidden]."
  )

  @OptionGroup var options: DebugModelOptions
  @Option(help: "The picture.") var image: String

  func run() async throws {
    let vlm = try await options.load()
    let embedding = try await vlm.encode([ImageReference(image).source()])[0]
    var file = try NumpyWriter.begin(options.output, shape: [embedding.rows, embedding.width])
    try embedding.values.withUnsafeBufferPointer { try file.append($0) }
  }
}

struct DebugLogits: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "What the model expects next, at every position: float32 [positions, vocabulary].")

  @OptionGroup var options: DebugModelOptions
  @Option(name: .customLong("image"), help: "A picture.") var images: [String] = []

  @Option(parsing: .unconditional, help: "Text, with <image> where the pictures stand.")
  var prompt: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Token ids; the image token, or −200, for each picture.", valueName: "1,2,…"))
  var inputIds: String?

  func validate() throws {
    guard (prompt == nil) != (inputIds == nil) else {
      throw ValidationError("Give either --prompt or --input-ids.")
    }
  }

  func run() async throws {
    let vlm = try await options.load()
    let images = try await vlm.encode(images.sources())
    let logits = try await vlm.logits(
      text: prompt, ids: inputIds.map { text throws(LimnError) in try tokenIDs(text) }, images: images)
    var file = try NumpyWriter.begin(options.output, shape: [logits.count, vlm.vocabularySize])
    for row in logits { try row.withUnsafeBufferPointer { try file.append($0) } }
  }
}
