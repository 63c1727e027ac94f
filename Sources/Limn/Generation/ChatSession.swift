public import LimnImage
public import LimnTensor
import Synchronization

/// A conversation: remembers what was said, and computes only what is new in each turn.
public final class ChatSession: Sendable {
  public let model: VisionLanguageModel
  private let state: Mutex<[ChatMessage]>
  private let memory: ConversationMemory?
  private let pictures: PictureMemory?

  /// - Parameter reuse: whether keys, values and picture embeddings are kept between turns.
  public init(_ model: VisionLanguageModel, system: String? = nil, reuse: Bool = true) {
    self.model = model
    state = Mutex(system.map { [ChatMessage(.system, $0)] } ?? [])
    memory = reuse ? ConversationMemory() : nil
    pictures = reuse ? PictureMemory() : nil
  }

  /// What was said so far.
  public var messages: [ChatMessage] { state.withLock { $0 } }

  /// Says something; the answer is remembered when it is finished.
  public func send(
    _ text: String, images: [ImageSource] = [], options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<AnswerEvent, any Error> {
    state.withLock { $0.append(ChatMessage(.user, text, images: images)) }
    return reply(options)
  }

  /// Takes the last answer back and gives another one; nil where nothing was said yet.
  public func regenerate(
    options: GenerationOptions = GenerationOptions()
  ) -> AsyncThrowingStream<AnswerEvent, any Error>? {
    let hasQuestion = state.withLock { messages in
      if messages.last?.role == .assistant { messages.removeLast() }
      return messages.last?.role == .user
    }
    return hasQuestion ? reply(options) : nil
  }

  /// Forgets the last question, after it failed.
  public func dropLastQuestion() {
    state.withLock { if $0.last?.role == .user { $0.removeLast() } }
  }

  private func reply(_ options: GenerationOptions) -> AsyncThrowingStream<AnswerEvent, any Error> {
    let question = VisionLanguageModel.Question(
      messages: messages, options: options, memory: memory, pictures: pictures)
    let (stream, continuation) = AsyncThrowingStream.makeStream(
      of: AnswerEvent.self, throwing: (any Error).self)
    let said = Said()
    let task = Task {
      do throws(LimnError) {
        let answer = try await model.answer(question) { event in
          if case .text(let piece) = event { said.text.withLock { $0 += piece } }
          continuation.yield(event)
        }
        remember(answer.text)
        continuation.yield(.finished(answer))
        continuation.finish()
      } catch {
        // What was said before the user stopped it stays part of the conversation.
        if error.kind == .interrupted { remember(said.text.withLock { $0 }) }
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { ending in
      if case .cancelled = ending { task.cancel() }
    }
    return stream
  }

  private func remember(_ answer: String) {
    if !answer.isEmpty { state.withLock { $0.append(ChatMessage(.assistant, answer)) } }
  }

  /// The text so far, for an answer that may be stopped.
  private final class Said: Sendable {
    let text = Mutex("")
  }
}
