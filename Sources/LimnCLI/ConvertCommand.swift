import ArgumentParser
import Limn
import LimnTensor

struct Convert: AsyncParsableCommand {
  enum Layout: String, ExpressibleByArgument, CaseIterable {
    case gguf, hf
  }

  static let configuration = CommandConfiguration(
    abstract: "Convert a model to another layout.",
    discussion: """
      gguf: a pair of files for limn and llama.cpp: the language model, and the
      vision tower with the projector (mmproj).
      hf: a folder for transformers' LlavaForConditionalGeneration.
      """)

  @Argument(
    help: ArgumentHelp("A model: a folder, or a .gguf file.", valueName: "model"), completion: .file())
  var reference: String

  @Option(help: ArgumentHelp("The layout: gguf or hf.", valueName: "layout"))
  var to: Layout

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where: a folder, or for gguf a file that ends in .gguf.", valueName: "path"),
    completion: .file())
  var output: String

  @Option(help: ArgumentHelp("Type of the stored weights: f16, f32 or bf16.", valueName: "type"))
  var type = "f16"

  @OptionGroup var options: ConversionOptions

  func validate() throws {
    guard ["f16", "f32", "bf16"].contains(type.lowercased()) else {
      throw ValidationError("--type must be f16, f32 or bf16; `limn quantize` writes smaller types.")
    }
  }

  func run() async throws {
    let format = GGUFMix(name: type)!
    let conversion =
      switch to {
      case .gguf:
        try Conversion.gguf(options.source.location(of: reference), format: format, vision: format, output: output)
      case .hf: try Conversion.huggingFace(options.source.location(of: reference), type: format.base, output: output)
      }
    _ = try await options.run(conversion)
  }
}
