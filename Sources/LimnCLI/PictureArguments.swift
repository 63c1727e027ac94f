public import ArgumentParser
import Limn
import LimnCore
public import LimnImage

extension ImageOptions.Colour: ExpressibleByArgument {
  /// From what stands on the command line.
  public init?(argument: String) { self.init(argument) }
}

/// Options of every command that looks at pictures.
struct PictureArguments: ParsableArguments {
  @Flag(help: "Look at damaged pictures, too; what is missing stays grey or black.")
  var acceptDamaged = false

  @Option(
    help: ArgumentHelp(
      "Put transparent pictures on a colour: white, black or #rrggbb. Default: the colours that transparency hides.",
      valueName: "colour"))
  var background: ImageOptions.Colour?

  @Option(help: ArgumentHelp("How long to wait for a server that sends nothing.", valueName: "seconds"))
  var timeout = 30.0

  func validate() throws {
    guard timeout > 0, timeout <= 86_400 else {
      throw ValidationError("--timeout must be over 0 and at most 86400 seconds.")
    }
  }

  var options: ImageOptions {
    var options = ImageOptions()
    options.acceptsDamaged = acceptDamaged
    options.background = background
    return options
  }

  /// The image that a word names; reads standard input and fetches URLs.
  func source(_ word: String) async throws(LimnError) -> ImageSource {
    try await PictureName.source(word, timeout: .seconds(timeout))
  }

  /// The images that these words name, in order.
  func sources(_ words: some Sequence<String>) async throws(LimnError) -> [ImageSource] {
    var sources: [ImageSource] = []
    for word in words { sources.append(try await source(word)) }
    return sources
  }

  /// The decoded image, with a line for each of its warnings.
  func image(_ source: ImageSource) throws(LimnError) -> RGBImage {
    let image = try source.image(options)
    for warning in image.warnings { Terminal.warn(warning, about: source.name) }
    return image
  }
}
