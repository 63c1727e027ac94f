// Shows an answer word by word, while it is made; Ctrl-C stops it:
//
//   swift run ExampleStream Examples/camp.png "Describe this picture."
//   swift run ExampleStream photo.jpg "Tell a story about this photo." ~/models/llava-phi-3-mini-hf
//
// Without a model's folder or .gguf file, the demo model answers, which knows drawn scenes only.

import Dispatch
import Foundation
import Limn

@main
enum Stream {
  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard arguments.count == 2 || arguments.count == 3 else {
      write("usage: ExampleStream PICTURE QUESTION [MODEL]\n", to: .standardError)
      exit(2)
    }
    let message = ChatMessage(.user, arguments[1], images: [.path(arguments[0])])
    let answering = Task {
      let reference = arguments.count == 3 ? arguments[2] : try DemoModel.path()
      let model = try await VisionLanguageModel.load(reference)
      var hasText = false
      for try await event in model.stream([message]) {
        switch event {
        case .warning(let warning, let image): write("\(image): \(warning)\n", to: .standardError)
        case .encoding, .reading, .tokens: break  // How far it is with the picture and the prompt; log-probabilities.
        case .text(let piece):
          // Some models begin with a space.
          let shown = hasText ? piece : String(piece.drop(while: \.isWhitespace))
          hasText = hasText || !shown.isEmpty
          write(shown, to: .standardOutput)
        case .finished(let answer):
          write("\n", to: .standardOutput)
          write("\(answer.usage.completionTokens) tokens\n", to: .standardError)
        }
      }
    }
    // Cancelling the task that reads the stream stops the answer.
    signal(SIGINT, SIG_IGN)
    let interrupts = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    interrupts.setEventHandler { answering.cancel() }
    interrupts.resume()
    do {
      try await answering.value
    } catch {
      write("\(error)\n", to: .standardError)
      exit(answering.isCancelled ? 130 : 1)
    }
    if answering.isCancelled { exit(130) }
  }

  static func write(_ text: String, to file: FileHandle) { file.write(Data(text.utf8)) }
}
