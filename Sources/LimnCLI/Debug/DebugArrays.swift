import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor

/// Options of the commands that run parts of a model; `exact` is the default here.
struct DebugModelOptions: ParsableArguments {
  @OptionGroup var arguments: LoadArguments

  @Option(help: ArgumentHelp("Where the array is written.", valueName: "x.npy"))
  var output: String

  func load() async throws -> VisionLanguageModel {
    var options = arguments.options
    options.precision = arguments.precision ?? .exact
    // Like the references, accept prompts longer than the model was trained for.
    options.context = arguments.context ?? 8192
    return try await arguments.load(options)
  }

  /// The embeddings of the images that these words name.
  func encode(_ words: [String], _ vlm: VisionLanguageModel) async throws -> [ImageEmbedding] {
    try await vlm.encode(arguments.pictures.sources(words)) { event in
      if case .warning(let warning, let image) = event { Terminal.warn(warning, about: image) }
    }
  }
}

struct DebugPreprocess: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "preprocess", abstract: "Write a picture as the vision tower reads it: float32 [tiles, 3, H, W].")

  @OptionGroup var load: LoadArguments
  @Option(help: "The picture.") var image: String
  @Option(help: ArgumentHelp("Where the array is written.", valueName: "x.npy")) var output: String

  func run() async throws {
    let parts = try ModelParts(load.location, load.options, steps: [.files, .imageProcessor])
    let image = try load.pictures.image(try await load.pictures.source(image))
    let picture = try parts.require(parts.processor).process(image)
    var file = try NumpyWriter(output, shape: [picture.tiles, 3, picture.height, picture.width])
    try picture.pixels.withUnsafeBufferPointer { try file.append($0) }
  }
}

struct DebugEmbed: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Write a picture as the language model reads it: float32 [imageTokens, hidden]."
  )

  @OptionGroup var options: DebugModelOptions
  @Option(help: "The picture.") var image: String

  func run() async throws {
    let vlm = try await options.load()
    let embedding = try await options.encode([image], vlm)[0]
    var file = try NumpyWriter(options.output, shape: [embedding.rows, embedding.width])
    try embedding.values.withUnsafeBufferPointer { try file.append($0) }
  }
}

/// A prompt with its images, as text or as token ids.
struct DebugPromptOptions: ParsableArguments {
  @Option(name: .customLong("image"), help: "A picture.") var images: [String] = []

  @Option(parsing: .unconditional, help: "Prompt text, with <image> in place of each picture.")
  var prompt: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Token ids, with the image token or −200 for each picture.", valueName: "1,2,…"))
  var inputIds: String?

  func validate() throws {
    guard (prompt == nil) != (inputIds == nil) else {
      throw ValidationError("Give either --prompt or --input-ids.")
    }
  }

  var ids: [Int]? {
    get throws(LimnError) { try inputIds.map { text throws(LimnError) in try tokenIDs(text) } }
  }
}

struct DebugLogits: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Write the logits at every position: float32 [positions, vocabulary].")

  @OptionGroup var options: DebugModelOptions
  @OptionGroup var prompt: DebugPromptOptions

  func run() async throws {
    let vlm = try await options.load()
    let images = try await options.encode(prompt.images, vlm)
    let logits = try await vlm.logits(text: prompt.prompt, ids: prompt.ids, images: images)
    var file = try NumpyWriter(options.output, shape: [logits.count, vlm.vocabularySize])
    for row in logits { try row.withUnsafeBufferPointer { try file.append($0) } }
  }
}

struct DebugAttention: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention",
    abstract: "Write each position's attention to the pictures: float32 [layers, heads, positions, patches].")

  @OptionGroup var options: DebugModelOptions
  @OptionGroup var prompt: DebugPromptOptions
  @Option(help: ArgumentHelp("Only these layers, such as 3 or 0-5.", valueName: "range")) var layers: IndexRange?
  @Option(help: ArgumentHelp("Only these heads.", valueName: "range")) var heads: IndexRange?
  @Option(help: ArgumentHelp("Only these positions of the prompt, pictures expanded.", valueName: "range"))
  var positions: IndexRange?

  func validate() throws {
    if prompt.images.isEmpty { throw ValidationError("Name a picture with --image.") }
  }

  func run() async throws {
    let vlm = try await options.load()
    let images = try await options.encode(prompt.images, vlm)
    let (values, shape) = try await vlm.attention(
      text: prompt.prompt, ids: prompt.ids, images: images, layers: layers?.range, heads: heads?.range,
      positions: positions?.range)
    var file = try NumpyWriter(options.output, shape: shape)
    try values.withUnsafeBufferPointer { try file.append($0) }
  }
}

/// "3", or "0-5" with both ends included.
struct IndexRange: ExpressibleByArgument {
  let range: Range<Int>

  init?(argument: String) {
    let ends = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first >= 0,
      last >= first, last < Int.max
    else { return nil }
    range = first..<last + 1
  }
}
