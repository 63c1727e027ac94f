import Foundation
public import LimnImage
import LimnCore
import Synchronization

/// A conversation: remembers what was said, and computes only what is new in each turn, as the model does for
/// all questions that begin like an earlier one.
public final class ChatSession: Sendable {
  /// The model that answers.
  public let model: VisionLanguageModel
  private let state: Mutex<State>

  private struct State {
    var messages: [ChatMessage]
    /// The turn under way; the next one waits for it.
    var turn: Task<Void, Never>?
  }

  /// Begins a conversation.
  /// - Parameter system: instructions for the model.
  public convenience init(_ model: VisionLanguageModel, system: String? = nil) {
    self.init(model, messages: system.map { [ChatMessage(.system, $0)] } ?? [])
  }

  /// Goes on with a conversation.
  public init(_ model: VisionLanguageModel, messages: [ChatMessage]) {
    self.model = model
    state = Mutex(State(messages: messages))
  }

  /// What was said so far.
  public var messages: [ChatMessage] { state.withLock { $0.messages } }

  /// Waits for the turn under way, also one whose answer nobody reads to its end any more.
  package func settle() async { await state.withLock { $0.turn }?.value }

  /// Says something; of pictures and `<image>` in the text see ``ChatMessage/init(_:_:images:)``. The question and its answer are remembered when the answer is there, also one that was
  /// stopped after its first words; after an error the conversation is as it was before.
  public func send(
    _ text: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<AnswerEvent, any Error> {
    turn(options) { $0.append(ChatMessage(.user, text, images: images)) }
  }

  /// Takes the last answer back and gives another one; nil where nothing was answered yet.
  public func regenerate(
    options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<AnswerEvent, any Error>? {
    guard messages.last?.role == .assistant else { return nil }
    return turn(options) { $0.removeLast() }
  }

  /// One turn: changes the messages, answers them, and remembers the answer.
  private func turn(
    _ options: GenerationOptions, change: @escaping @Sendable (inout [ChatMessage]) -> Void
  ) -> AsyncThrowingStream<AnswerEvent, any Error> {
    let (stream, continuation) = AsyncThrowingStream.makeStream(
      of: AnswerEvent.self, throwing: (any Error).self)
    let task = state.withLock { state in
      let previous = state.turn
      let task = Task {
        await previous?.value
        await answer(options, change, continuation)
      }
      state.turn = task
      return task
    }
    continuation.onTermination = { ending in
      if case .cancelled = ending { task.cancel() }
    }
    return stream
  }

  private func answer(
    _ options: GenerationOptions, _ change: @Sendable (inout [ChatMessage]) -> Void,
    _ continuation: AsyncThrowingStream<AnswerEvent, any Error>.Continuation
  ) async {
    var messages = self.messages
    change(&messages)
    let said = Said()
    do throws(LimnError) {
      // What is read now is the same in every turn.
      if let last = messages.popLast() { messages.append(try last.settled()) }
      let answer = try await model.answer(Request(messages, options: options)) { event in
        if case .text(let piece) = event { said.text.withLock { $0 += piece } }
        continuation.yield(event)
      }
      remember(messages, answer.text)
      continuation.yield(.finished(answer))
      continuation.finish()
    } catch {
      let text = said.text.withLock { $0 }
      if error.kind == .interrupted, !text.isEmpty { remember(messages, text) }
      continuation.finish(throwing: error)
    }
  }

  /// Templates write their own space before an answer, so that the model's is left out.
  private func remember(_ messages: [ChatMessage], _ answer: String) {
    let text = answer.trimmingCharacters(in: .whitespacesAndNewlines)
    state.withLock { $0.messages = messages + [ChatMessage(.assistant, text)] }
  }

  /// The text so far, for an answer that may be stopped.
  private final class Said: Sendable {
    let text = Mutex("")
  }
}
