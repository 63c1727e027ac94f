import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnHub
import LimnImage
import LimnCore

struct Chat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Talk about pictures.",
    discussion: """
      Write a question and press Return. Ctrl-C stops an answer, Ctrl-D ends the conversation.

        /image FILE    show a picture with the next question
        /regenerate    answer the last question again (differently with a --temperature)
        /stats         show how long the last answer took
        /save FILE     write the conversation as JSON
        /quit          end the conversation
        /help          list these commands
      """)

  @Argument(help: ArgumentHelp("Pictures to begin with.", valueName: "image"), completion: .file())
  var images: [String] = []

  @Option(
    name: .customLong("image"), help: ArgumentHelp("Another picture.", valueName: "image"), completion: .file())
  var moreImages: [String] = []

  @OptionGroup var load: LoadArguments
  @OptionGroup var answer: AnswerOptions

  func run() async throws {
    let start = ContinuousClock.now
    let vlm = try await load.load()
    load.warnAboutDemo()
    var conversation = Conversation(
      session: ChatSession(vlm, system: answer.system), options: answer,
      load: (ContinuousClock.now - start).milliseconds)
    for image in images + moreImages { try await conversation.attach(image) }
    if isatty(STDIN_FILENO) == 1 {
      Terminal.error(Terminal.dimmed("Ask something; /help lists the commands."))
    }
    while let line = conversation.readLine()?.trimmingCharacters(in: .whitespacesAndNewlines),
      !["/quit", "/exit", "/bye"].contains(line)
    {
      try await conversation.handle(line)
    }
  }
}

private struct Conversation {
  let session: ChatSession
  let options: AnswerOptions
  let load: Double
  private var attached: [ImageSource] = []
  private var last: Answer?
  private let isInteractive = isatty(STDIN_FILENO) == 1

  init(session: ChatSession, options: AnswerOptions, load: Double) {
    self.session = session
    self.options = options
    self.load = load
  }

  func readLine() -> String? {
    if isInteractive { Terminal.writeError("> ") }
    let line = Swift.readLine()
    if line == nil, isInteractive { Terminal.error("") }
    return line
  }

  /// Keeps an image for the next question. Decoding it now reports at once whether it can be read.
  mutating func attach(_ path: String) async throws(LimnError) {
    let source = try await ImageReference(path).source().settled()
    let image = try source.image()
    attached.append(source)
    Terminal.error(Terminal.dimmed("\(path): \(image.width)×\(image.height); ask about it"))
  }

  mutating func handle(_ line: String) async throws {
    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
    let argument = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
    switch words.first {
    case nil: return
    case "/image" where argument.isEmpty: Terminal.error("Name a picture: /image FILE")
    case "/image":
      do throws(LimnError) {
        try await attach(argument)
      } catch {
        try complain(error)
      }
    case "/regenerate":
      guard let events = session.regenerate(options: options.generation) else {
        return Terminal.error("Nothing was answered yet.")
      }
      try await answer(events)
    case "/stats":
      guard let last else { return Terminal.error("Nothing was answered yet.") }
      Report.stats(last, load: load)
    case "/save" where argument.isEmpty: Terminal.error("Name a file: /save FILE")
    case "/save": save(to: argument)
    case "/help": Terminal.error(Chat.configuration.discussion)
    case let command? where command.hasPrefix("/") && command.dropFirst().allSatisfy(\.isLetter):
      Terminal.error("There is no command \(command); /help lists them.")
    default:
      let said = session.messages.count
      try await answer(session.send(line, images: attached, options: options.generation))
      // If a question is stopped before the answer's first word, forget it but keep its images.
      if session.messages.count > said { attached = [] }
    }
  }

  private mutating func answer(_ events: AsyncThrowingStream<AnswerEvent, any Error>) async throws {
    do {
      let result = try await interruptible { try await AnswerPrinter.print(events, streams: true) }
      last = result
      if options.stats { Report.stats(result, load: load) }
    } catch let error as LimnError where error.kind == .interrupted {
      Terminal.error(Terminal.dimmed("(stopped)"))
      // The session records the answer so far a moment after it stops.
      await session.settle()
    } catch {
      try complain(error)
    }
  }

  /// A person reads the error and goes on. A script must stop: it would go on without its image or its answer.
  private func complain(_ error: any Error) throws {
    guard isInteractive else { throw error }
    Terminal.error("limn: \((error as? LimnError)?.description(for: .command) ?? "\(error)")")
  }

  private func save(to path: String) {
    let messages = session.messages.map { message -> JSON in
      .object([
        "role": .string(message.role.rawValue),
        "content": .array(
          message.parts.map { part in
            switch part {
            case .image(let image): .object(["type": .string("image"), "image": .string(image.name)])
            case .text(let text): .object(["type": .string("text"), "text": .string(text)])
            }
          }),
      ])
    }
    let text = JSON.array(messages).serialised(.init(indent: 2)) + "\n"
    do {
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      Terminal.error(Terminal.dimmed("saved to \(path)"))
    } catch {
      Terminal.error("limn: \(path): cannot be written; check the folder and its permissions")
    }
  }
}
