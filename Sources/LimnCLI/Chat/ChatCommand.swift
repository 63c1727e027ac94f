import ArgumentParser
import Foundation
import Limn
import LimnCore
import LimnImage

struct Chat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Talk about pictures.",
    discussion: """
      Write a question and press Return. A picture dropped into the window goes with
      it. Ctrl-C drops the line or stops the answer, Ctrl-D ends the conversation.

      \(commands)
      """)

  /// What `/help` lists.
  static let commands = """
      /image FILE…        show pictures with the next question
      /images             list the pictures that the model sees
      /regenerate         answer the last question again
      /new                begin again, without pictures
      /system TEXT        change the system message; alone: show it
      /set NAME VALUE     change an option, such as temperature; alone: show all
      /model PATH         go on with another model; alone: show which
      /context            show how full the context is
      /stats              show how long the last answer took
      /save FILE          write the conversation as JSON
      /load FILE          go on with one that was saved
      /help               list these commands
      /quit               end the conversation
      \"""                 begin and end a question of several lines, taken as it is
    """

  @Argument(help: ArgumentHelp("Pictures to begin with.", valueName: "image"), completion: .file())
  var images: [String] = []

  @Option(
    name: [.customLong("image"), .customShort("i")],
    help: ArgumentHelp("Another picture; may be repeated.", valueName: "image"), completion: .file())
  var moreImages: [String] = []

  @OptionGroup(title: "Model options") var load: LoadArguments
  @OptionGroup var answer: AnswerOptions
  @OptionGroup var quiet: Quietness

  func run() async throws {
    let start = ContinuousClock.now
    let vlm = try await load.load()
    load.warnAboutDemo()
    let reader = LineReader()
    var conversation = Conversation(
      vlm, load, answer, opening: (ContinuousClock.now - start).milliseconds, isInteractive: reader.isTerminal)
    try await conversation.attach(images + moreImages)
    if reader.isTerminal { Terminal.note("Ask something; /help lists the commands.") }
    while let question = reader.question() {
      guard try await conversation.handle(question) else { break }
    }
  }
}
