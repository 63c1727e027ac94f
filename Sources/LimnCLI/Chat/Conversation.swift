import Foundation
import Limn
import LimnCore
import LimnImage

/// A conversation as `limn chat` holds it: commands change it, everything else is asked.
struct Conversation {
  private(set) var vlm: VisionLanguageModel
  private(set) var session: ChatSession
  private(set) var options: AnswerOptions
  private(set) var system: String?
  private var load: LoadArguments
  private var opening: Double
  /// Pictures for the next question.
  private(set) var attached: [ImageSource] = []
  private(set) var last: Answer?
  let isInteractive: Bool

  /// - Parameter opening: how long opening the model took, in milliseconds.
  init(
    _ vlm: VisionLanguageModel, _ load: LoadArguments, _ options: AnswerOptions, opening: Double, isInteractive: Bool
  ) {
    (self.vlm, self.load, self.options, self.opening) = (vlm, load, options, opening)
    system = options.system
    session = ChatSession(vlm, system: options.system)
    self.isInteractive = isInteractive
  }

  /// Handles a command, or asks a question.
  /// - Returns: false where the conversation ends.
  mutating func handle(_ question: LineReader.Question) async throws -> Bool {
    do {
      switch question {
      case .text(let text): try await ask(text)
      case .line(let line):
        switch ChatLine(line) {
        case .command("quit", _), .command("exit", _), .command("bye", _): return false
        case .command(let name, let argument): try await run(name, argument)
        case .question(let text, let pictures):
          try await attach(pictures)
          if !text.isEmpty { try await ask(text) }
        }
      }
    } catch let error as LimnError where error.kind == .interrupted {
      Terminal.note("(stopped)")
    } catch {
      // A person reads the error and goes on. A script must stop: it would go on without its image or its answer.
      guard isInteractive else { throw error }
      Terminal.endProgress()
      Terminal.error("limn: \((error as? LimnError)?.description(for: .command) ?? "\(error)")")
    }
    return true
  }

  private mutating func run(_ command: String, _ argument: String) async throws {
    switch command {
    case "image" where argument.isEmpty: Terminal.error("Name a picture: /image FILE")
    case "image":
      guard case .question(let text, let pictures) = ChatLine.question(in: argument, namesPicture: true) else { return }
      try await attach(pictures)
      if !text.isEmpty { try await ask(text) }
    case "images": listImages()
    case "regenerate":
      guard let events = session.regenerate(options: options.generation) else {
        return Terminal.error("Nothing was answered yet.")
      }
      try await answer(events)
    case "new":
      session = ChatSession(vlm, system: system)
      (attached, last) = ([], nil)
      Terminal.note("a new conversation")
    case "system": changeSystem(to: argument)
    case "set": try change(argument)
    case "model" where argument.isEmpty: Terminal.error(vlm.name)
    case "model": try await open(Self.path(argument))
    case "context": Terminal.error(contextLine)
    case "stats":
      guard let last else { return Terminal.error("Nothing was answered yet.") }
      Report.stats(last, load: opening)
    case "save" where argument.isEmpty, "load" where argument.isEmpty:
      Terminal.error("Name a file: /\(command) FILE")
    case "save":
      try SavedConversation.write(session.messages, to: Self.path(argument))
      Terminal.note("saved to \(Self.path(argument))")
    case "load":
      let messages = try await SavedConversation.read(Self.path(argument))
      session = ChatSession(vlm, messages: messages)
      system = messages.first { $0.role == .system }?.text
      (attached, last) = ([], nil)
      Terminal.note("\(messages.count) messages; \(imageLine)")
    case "help": Terminal.error(Chat.commands)
    default: Terminal.error("There is no command /\(LimnError.printable(command)); /help lists them.")
    }
  }

  // MARK: Pictures

  /// Keeps images for the next question. Decoding them now reports at once whether they can be read.
  mutating func attach(_ words: [String]) async throws {
    for word in words {
      guard word != "-" else {
        throw LimnError(.usage, "questions come through standard input, so no picture can", remedy: "name a file")
      }
      let pictures = load.pictures
      let source = try await interruptible { try await pictures.source(word).settled() }
      let image = try pictures.image(source)
      attached.append(source)
      Terminal.note("\(LimnError.printable(source.name)): \(image.width)×\(image.height); ask about it")
    }
  }

  /// The pictures that an answer to the next question rests on.
  private var images: [ImageSource] { session.messages.flatMap(\.images) + attached }

  private func listImages() {
    if images.isEmpty { return Terminal.error("no picture: /image FILE shows one") }
    let asked = session.messages.flatMap(\.images).count
    for (index, image) in images.enumerated() {
      Terminal.error(
        "\(index + 1)  \(LimnError.printable(image.name))" + (index < asked ? "" : "  (with the next question)"))
    }
  }

  private var imageLine: String {
    switch images.count {
    case 0: "no picture"
    case 1: LimnError.printable(images[0].name.split(separator: "/").last.map(String.init) ?? images[0].name)
    default: "\(images.count) pictures"
    }
  }

  private var contextLine: String {
    let used = (last?.usage.promptTokens ?? 0) + (last?.usage.completionTokens ?? 0)
    return "\(imageLine) · \(used) of \(vlm.context) tokens of context (\(100 * used / max(1, vlm.context)) %)"
  }

  // MARK: Settings

  private mutating func changeSystem(to text: String) {
    if text.isEmpty { return Terminal.error(system.map(LimnError.printable) ?? "no system message") }
    system = text
    session = ChatSession(vlm, messages: [ChatMessage(.system, text)] + session.messages.filter { $0.role != .system })
    Terminal.note("from the next question on")
  }

  private mutating func change(_ argument: String) throws {
    let words = argument.split(maxSplits: 1) { $0.isWhitespace || $0 == "=" }.map(String.init)
    guard let name = words.first else {
      for setting in AnswerOptions.settings { Terminal.error("\(setting.name) \(setting.value(options))") }
      return
    }
    if words.count > 1 {
      try options.set(name, to: words[1].trimmingCharacters(in: .whitespaces))
    } else if let setting = AnswerOptions.settings.first(where: { $0.name == name }) {
      Terminal.error("\(setting.name) \(setting.value(options))")
    } else {
      try options.set(name, to: "")
    }
  }

  /// Opens another model, which reads the conversation so far.
  private mutating func open(_ path: String) async throws {
    let start = ContinuousClock.now
    var load = load
    load.model = path
    vlm = try await load.load()
    (self.load, opening, last) = (load, (ContinuousClock.now - start).milliseconds, nil)
    session = ChatSession(vlm, messages: session.messages)
    Terminal.note("\(vlm.name) answers from now on")
  }

  /// A path as it is typed or dropped.
  private static func path(_ argument: String) -> String {
    let word = ShellWord(argument[...])
    let text = word.end == argument.endIndex ? word.text : argument
    return PictureName.file(argument) ?? PictureName.file(text) ?? PictureName.expandingHome(text) ?? text
  }

  // MARK: Answers

  private mutating func ask(_ text: String) async throws {
    let said = session.messages.count
    try await answer(session.send(text, images: attached, options: options.generation))
    // If a question is stopped before the answer's first word, forget it but keep its images.
    guard session.messages.count > said else { return }
    attached = []
    if isInteractive { Terminal.note(contextLine) }
  }

  private mutating func answer(_ events: AsyncThrowingStream<AnswerEvent, any Error>) async throws {
    do {
      let result = try await interruptible { try await AnswerPrinter.print(events, as: .text) }
      last = result
      if options.stats { Report.stats(result, load: opening) }
    } catch let error as LimnError where error.kind == .interrupted {
      Terminal.note("(stopped)")
      // The session records the answer so far a moment after it stops.
      await session.settle()
    }
  }
}
