import ArgumentParser
import CLimnSystem
import Foundation
import Limn
import LimnFiles
import LimnHub
import LimnImage
import LimnCore

struct Ask: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Ask one question, with or without pictures.",
    usage: "limn ask [<image> ...] <prompt> [--model <model>] [<options>]",
    discussion: """
      An image is a file, an http(s) or data: URL, or - for standard input.

        limn ask photo.jpg "What is the weather?"
        limn ask before.png after.png "What has changed?" --model ~/models/llava
        curl -s https://example.org/a.jpg | limn ask - "Describe this picture." --json
      """)

  @Argument(help: ArgumentHelp("Pictures, then the question.", valueName: "image… prompt"), completion: .file())
  var operands: [String] = []

  @Option(
    name: .customLong("image"), help: ArgumentHelp("Another picture.", valueName: "image"), completion: .file())
  var images: [String] = []

  @OptionGroup var load: LoadArguments
  @OptionGroup var answer: AnswerOptions

  @Flag(help: "Pass the prompt to the model unchanged, without a chat template.")
  var rawPrompt = false

  @Flag(help: "Print the answer, token counts and timings as JSON.")
  var json = false

  func validate() throws {
    if operands.isEmpty {
      throw ValidationError("A question is missing: limn ask [<image> ...] <prompt>")
    }
    // "photo.jpg" is no question: the user forgot the question, or the picture does not exist.
    if operands.count == 1, images.isEmpty, Self.namesPicture(operands[0]) {
      let picture = LimnError.printable(operands[0])
      throw ValidationError("A question is missing after the picture: limn ask \(picture) \"What is this?\"")
    }
    if rawPrompt, answer.system != nil {
      throw ValidationError(
        "--raw-prompt leaves out the chat template, and --system with it: write the system text into the prompt.")
    }
  }

  /// Whether an operand looks like an image rather than a question.
  private static func namesPicture(_ operand: String) -> Bool {
    if FileManager.default.fileExists(atPath: operand) { return true }
    let name = operand.lowercased()
    if [".png", ".jpg", ".jpeg", ".webp"].contains(where: { name.hasSuffix($0) }) { return true }
    // Standard input or a URL. A question may begin like a URL, but contains other characters too.
    guard operand.allSatisfy({ $0.isASCII && !$0.isWhitespace }), let reference = try? ImageReference(operand) else {
      return false
    }
    return reference != .source(.path(operand))
  }

  func run() async throws {
    let start = ContinuousClock.now
    let sources = try await (operands.dropLast() + images).sources()
    let vlm = try await load.load()
    let loaded = ContinuousClock.now
    var messages = [ChatMessage(.user, operands.last!, images: sources)]
    if let system = answer.system { messages.insert(ChatMessage(.system, system), at: 0) }
    let request =
      rawPrompt
      ? Request(rawPrompt: operands.last!, images: sources, options: answer.generation)
      : Request(messages, options: answer.generation)
    let (streams, arguments) = (!json, load)
    let result = try await interruptible {
      try await AnswerPrinter.print(vlm.stream(request), streams: streams) { arguments.warnAboutDemo() }
    }
    let opening = (loaded - start).milliseconds
    if json { Terminal.print(Report.json(result, model: vlm.name, load: opening).serialised()) }
    if answer.stats { Report.stats(result, load: opening) }
  }
}

extension Sequence<String> {
  /// The images that these words name; reads standard input and fetches URLs, in order.
  func sources() async throws -> [ImageSource] {
    var sources: [ImageSource] = []
    for word in self { sources.append(try await ImageReference(word).source()) }
    return sources
  }
}

/// Prints an answer while it is generated.
enum AnswerPrinter {
  /// - Parameter first: called just before the first text is shown, when an answer is certain to follow.
  /// - Returns: the finished answer.
  static func print(
    _ events: AsyncThrowingStream<AnswerEvent, any Error>, streams: Bool, first: () -> Void = {}
  ) async throws -> Answer {
    var (hasText, isFirst) = (false, true)
    do {
      for try await event in events {
        switch event {
        case .encoding(let done, let total):
          Terminal.progress("looking at the picture" + (total > 1 ? " \(done)/\(total)" : ""))
        case .reading(let done, let total):
          Terminal.progress("reading the prompt \(done)/\(total)")
        case .text(let piece):
          Terminal.endProgress()
          if isFirst { first() }
          isFirst = false
          // Drop leading white space: a model's first token often begins with a space.
          let shown = hasText ? piece : String(piece.drop(while: \.isWhitespace))
          hasText = hasText || !shown.isEmpty
          if streams { Terminal.write(shown) }
        case .finished(let answer):
          Terminal.endProgress()
          if streams { Terminal.write("\n") }
          return answer
        }
      }
    } catch {
      if streams, hasText { Terminal.write("\n") }
      throw error
    }
    // The stream ends without an answer only if its task was cancelled.
    if streams, hasText { Terminal.write("\n") }
    throw LimnError(.interrupted, "stopped")
  }
}

/// Formats an answer's token counts and timings, for machines and for people.
enum Report {
  static func json(_ answer: Answer, model: String, load: Double) -> JSON {
    let timings = answer.timings
    return .object([
      "model": .string(model),
      "text": .string(answer.text),
      "finish_reason": .string(answer.finishReason.rawValue),
      "usage": .object([
        "prompt_tokens": .integer(answer.usage.promptTokens),
        "image_tokens": .integer(answer.usage.imageTokens),
        "completion_tokens": .integer(answer.usage.completionTokens),
      ]),
      "timings": .object([
        "load_ms": .number(load.rounded(to: 3)),
        "image_encode_ms": .number(timings.imageEncode.rounded(to: 3)),
        "prompt_ms": .number(timings.prompt.rounded(to: 3)),
        "first_token_ms": .number(timings.firstToken.rounded(to: 3)),
        "predicted_ms": .number(timings.predicted.rounded(to: 3)),
        "prompt_per_second": .number(promptPerSecond(answer).rounded(to: 3)),
        "predicted_per_second": .number(predictedPerSecond(answer).rounded(to: 3)),
        "guessed_tokens": .integer(timings.drafted),
        "guessed_right_tokens": .integer(timings.accepted),
      ]),
    ])
  }

  static func stats(_ answer: Answer, load: Double) {
    let timings = answer.timings
    func line(_ name: String, _ text: String) {
      Terminal.error(Terminal.dimmed(name.padding(toLength: 14, withPad: " ", startingAt: 0) + text))
    }
    line("model", "opened in \(load.duration)")
    if answer.usage.imageTokens > 0 {
      line("picture", "\(timings.imageEncode.duration), \(answer.usage.imageTokens) tokens")
    }
    line(
      "prompt",
      "\(timings.promptComputed) of \(answer.usage.promptTokens) tokens computed in \(timings.prompt.duration)"
        + ", \(promptPerSecond(answer).rounded(to: 1)) tokens/s")
    line("first word", "after \(timings.firstToken.duration)")
    line(
      "answer",
      "\(answer.usage.completionTokens) tokens, \(predictedPerSecond(answer).rounded(to: 1)) tokens/s, "
        + "ended by \(answer.finishReason == .stop ? "itself" : "its longest length")")
    if timings.drafted > 0 {
      line("guessed ahead", "\(timings.accepted) of \(timings.drafted) tokens were right")
    }
    line("memory", "\(peakMemory() >> 20) MB at most")
  }

  private static func promptPerSecond(_ answer: Answer) -> Double {
    answer.timings.prompt > 0 ? Double(answer.timings.promptComputed) / answer.timings.prompt * 1000 : 0
  }

  /// The first token comes with the prompt; the others take `predicted`.
  private static func predictedPerSecond(_ answer: Answer) -> Double {
    answer.timings.predicted > 0
      ? Double(answer.timings.predictedTokens) / answer.timings.predicted * 1000 : 0
  }
}

/// The process's peak memory use, in bytes.
func peakMemory() -> Int {
  Int(limn_peak_memory())
}

extension Double {
  func rounded(to digits: Int) -> Double {
    let factor = pow(10, Double(digits))
    return (self * factor).rounded() / factor
  }

  /// Milliseconds in readable form: "85 ms", "1.2 s".
  var duration: String { self < 1000 ? "\(Int(rounded())) ms" : "\((self / 1000).rounded(to: 1)) s" }
}
