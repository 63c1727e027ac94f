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
    usage: "limn ask [<image> ...] <question> [--model <model>] [<options>]",
    discussion: """
      An image is a file, an http(s) or data: URL, or - for standard input. The
      question may stand before, between or after the images, or come through a
      pipe. What names a file, or ends like a picture's name, is never the question.

        limn ask photo.jpg "What is the weather?"
        limn ask before.png after.png "What has changed?" -m ~/models/llava
        echo "What is the weather?" | limn ask photo.jpg
        curl -s https://example.org/a.jpg | limn ask - "Describe this picture." --json
      """)

  @Argument(
    help: ArgumentHelp("Pictures and the question, which goes in quotes.", valueName: "image… question"),
    completion: .file())
  var operands: [String] = []

  @Option(
    name: [.customLong("image"), .customShort("i")], parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Another picture; may be repeated.", valueName: "image"), completion: .file())
  var images: [String] = []

  @OptionGroup(title: "Model options") var load: LoadArguments
  @OptionGroup var answer: AnswerOptions

  @Flag(help: "Pass the question to the model unchanged, without a chat template.")
  var rawPrompt = false

  @Option(
    help: ArgumentHelp("Answer in JSON that fits the JSON schema in this file.", valueName: "file"),
    completion: .file(extensions: ["json"]))
  var schema: String?

  @Flag(help: "Print the answer, token counts and timings as JSON.")
  var json = false

  @Flag(help: "Print JSON while the answer comes: a line for each piece of text, the last as with --json.")
  var jsonStream = false

  @OptionGroup var quiet: Quietness

  func validate() throws {
    if json, jsonStream { throw ValidationError("Choose one: --json or --json-stream.") }
    if rawPrompt, answer.system != nil {
      throw ValidationError(
        "--raw-prompt leaves out the chat template, and --system with it: write the system text into the question.")
    }
  }

  func run() async throws {
    let start = ContinuousClock.now
    let asked = try Asked(operands, images: images)
    var options = answer.generation
    if let schema { options.format = .json(schema: try JSON.parse(file: schema).serialised()) }
    let sources = try await asked.sources(load.pictures)
    let vlm = try await load.load()
    let loaded = ContinuousClock.now
    var messages = [ChatMessage(.user, asked.question, images: sources)]
    if let system = answer.system { messages.insert(ChatMessage(.system, system), at: 0) }
    let request =
      rawPrompt
      ? Request(rawPrompt: asked.question, images: sources, options: options)
      : Request(messages, options: options)
    let (format, arguments): (AnswerPrinter.Format, LoadArguments) =
      (json ? .none : jsonStream ? .lines : .text, load)
    let result = try await interruptible {
      try await AnswerPrinter.print(vlm.stream(request), as: format) {
        arguments.warnAboutDemo()
        if sources.isEmpty, Terminal.hasInput {
          Terminal.note("limn: standard input was not read; if it is a picture, name it as -")
        }
      }
    }
    let opening = (loaded - start).milliseconds
    if json || jsonStream { Terminal.print(Report.json(result, model: vlm.name, load: opening).serialised()) }
    if answer.stats { Report.stats(result, load: opening) }
  }
}

/// Prints an answer while it is generated.
enum AnswerPrinter {
  enum Format {
    /// Nothing: the finished answer is printed elsewhere.
    case none
    case text
    /// One JSON object per piece of text.
    case lines
  }

  /// - Parameter first: called just before the first text is shown, when an answer is certain to follow.
  /// - Returns: the finished answer.
  static func print(
    _ events: AsyncThrowingStream<AnswerEvent, any Error>, as format: Format, first: () -> Void = {}
  ) async throws -> Answer {
    var (hasText, isFirst) = (false, true)
    do {
      for try await event in events {
        switch event {
        case .warning(let warning, let image): Terminal.warn(warning, about: image)
        case .encoding(let done, let total):
          Terminal.progress("looking at the picture" + (total > 1 ? " \(done)/\(total)" : ""))
        case .reading(let done, let total):
          Terminal.progress("reading the prompt \(done)/\(total)")
        case .tokens: break
        case .text(let piece):
          Terminal.endProgress()
          if isFirst { first() }
          isFirst = false
          // Drop leading white space: a model's first token often begins with a space.
          let shown = hasText ? piece : piece.withoutLeadingSpace
          hasText = hasText || !shown.isEmpty
          if !shown.isEmpty { write(shown, format) }
        case .finished(let answer):
          Terminal.endProgress()
          if case .text = format { Terminal.write("\n") }
          return answer
        }
      }
    } catch {
      if case .text = format, hasText { Terminal.write("\n") }
      throw error
    }
    // The stream ends without an answer only if its task was cancelled.
    if case .text = format, hasText { Terminal.write("\n") }
    throw LimnError(.interrupted, "stopped")
  }

  private static func write(_ piece: String, _ format: Format) {
    switch format {
    case .none: break
    case .text: Terminal.write(piece)
    case .lines: Terminal.print(JSON.object(["token": .string(piece)]).serialised())
    }
  }
}

extension String {
  var withoutLeadingSpace: String { String(drop(while: \.isWhitespace)) }
}

/// Formats an answer's token counts and timings, for machines and for people.
enum Report {
  static func json(_ answer: Answer, model: String, load: Double) -> JSON {
    let timings = answer.timings
    return .object([
      "model": .string(model),
      "text": .string(answer.text.withoutLeadingSpace),
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
