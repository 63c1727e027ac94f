// Asks every question about every picture, all at once; what fails does not stop the rest:
//
//   swift run ExampleBatch Examples/camp.png Examples/lighthouse.png -- "What is the mood?" "Describe this picture."
//   LIMN_MODEL=~/models/llava-phi-3-mini-hf swift run ExampleBatch *.jpg -- "What is in this photo?"
//
// Without LIMN_MODEL the demo model answers, which knows drawn scenes only. Each line is a picture, a question and the
// answer, separated by tabs, in the order in which answers are ready.

import Foundation
import Limn

@main
enum Batch {
  static func main() async {
    let parts = CommandLine.arguments.dropFirst().split(separator: "--", maxSplits: 1)
    guard parts.count == 2 else {
      complain("usage: ExampleBatch PICTURE... -- QUESTION...")
      exit(2)
    }
    var failures = 0
    do throws(LimnError) {
      let named = ProcessInfo.processInfo.environment["LIMN_MODEL"]
      let reference = if let named { named } else { try DemoModel.path() }
      let model = try await VisionLanguageModel.load(reference)
      // The model answers `LoadOptions.maxSequences` of them together and lets the others wait. A picture is encoded
      // once, and what prompts have in common is computed once.
      await withTaskGroup(of: (picture: String, question: String, result: Result<Answer, LimnError>).self) { group in
        for picture in parts[0] {
          for question in parts[1] {
            group.addTask {
              do throws(LimnError) {
                return (picture, question, .success(try await model.ask(question, images: [.path(picture)])))
              } catch {
                return (picture, question, .failure(error))
              }
            }
          }
        }
        for await item in group {
          switch item.result {
          case .success(let answer):
            // Some models begin with a space.
            let text = answer.text.trimmingCharacters(in: .whitespacesAndNewlines)
            print(item.picture, item.question, text, separator: "\t")
          case .failure(let error):
            complain("\(error)")
            failures += 1
          }
        }
      }
    } catch {
      complain("\(error)")
      exit(1)
    }
    exit(failures == 0 ? 0 : 1)
  }

  static func complain(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }
}
