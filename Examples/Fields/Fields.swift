// Asks about a picture and gets values, not sentences:
//
//   swift run ExampleFields Examples/lighthouse.png
//   swift run ExampleFields photo.jpg ~/models/llava-phi-3-mini-hf
//
// Whatever the model would rather say, the answer is JSON that fits the schema.

import Foundation
import Limn

/// What the schema describes.
struct Scene: Decodable {
  enum Time: String, Decodable { case day, sunset, night }

  var mood: String
  var time: Time

  static let schema = """
    {"type": "object", "required": ["mood", "time"], "additionalProperties": false, "properties": {
      "mood": {"enum": ["tranquility and solitude", "warmth and company", "wildness"]},
      "time": {"enum": ["day", "sunset", "night"]}}}
    """
}

@main
enum Fields {
  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard arguments.count == 1 || arguments.count == 2 else {
      complain("usage: ExampleFields PICTURE [MODEL]")
      exit(2)
    }
    do {
      let reference = arguments.count == 2 ? arguments[1] : try DemoModel.path()
      let model = try await VisionLanguageModel.load(reference)
      var options = GenerationOptions()
      options.format = .json(schema: Scene.schema)
      let answer = try await model.ask("Describe this picture.", images: [.path(arguments[0])], options: options)
      let scene = try JSONDecoder().decode(Scene.self, from: Data(answer.text.utf8))
      print("\(scene.time.rawValue): \(scene.mood)")
    } catch {
      complain("\(error)")
      exit(1)
    }
  }

  static func complain(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }
}
