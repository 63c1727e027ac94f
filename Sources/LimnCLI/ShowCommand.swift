import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnTensor

struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What a model is, and how limn will use it.")

  @Argument(help: "A model: a folder, or a .gguf file. Default: $LIMN_MODEL, else the demo model.")
  var reference: String?

  @OptionGroup var model: ModelReference
  @Flag(help: "As JSON.") var json = false

  func run() async throws {
    var options = LoadOptions()
    options.projectorFile = model.mmproj
    options.quantization = model.quantization
    let vlm = try await VisionLanguageModel.load(try reference ?? model.reference, options: options)
    let facts = vlm.description
    if json {
      var object = JSONObject()
      for fact in facts { object.set(fact.key, to: .string(fact.value)) }
      return Terminal.print(JSON.object(object).serialised(.init(indent: 2)))
    }
    let width = (facts.map(\.title.count).max() ?? 0) + 2
    for fact in facts {
      Terminal.print(fact.title.padding(toLength: width, withPad: " ", startingAt: 0) + fact.value)
    }
  }
}
