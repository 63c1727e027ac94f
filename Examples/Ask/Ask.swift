// Asks one question about a picture:
//
//   swift run ExampleAsk Examples/lighthouse.png "Describe this picture."
//   swift run ExampleAsk photo.jpg "What is the weather?" ~/models/llava-phi-3-mini-hf
//
// Without a model's folder or .gguf file, the demo model answers, which knows drawn scenes only.

import Foundation
import Limn

@main
enum Ask {
  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard arguments.count == 2 || arguments.count == 3 else {
      complain("usage: ExampleAsk PICTURE QUESTION [MODEL]")
      exit(2)
    }
    let (picture, question) = (arguments[0], arguments[1])
    do throws(LimnError) {
      let reference = arguments.count == 3 ? arguments[2] : try DemoModel.path()
      let model = try await VisionLanguageModel.load(reference)
      let answer = try await model.ask(question, images: [.path(picture)])
      // Some models begin with a space.
      print(answer.text.trimmingCharacters(in: .whitespacesAndNewlines))
    } catch {
      // Programs tell errors by their code; people read the description, which says what to do.
      if error.code == .imageNotFound { complain("Pictures are found from the folder that the program runs in.") }
      complain("\(error)")
      exit(1)
    }
  }

  static func complain(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }
}
