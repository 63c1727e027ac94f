import Limn
import LimnCore
import Synchronization

/// Conversations that clients go on with by the id of an answer (`previous_response_id`), bounded in number and bytes.
final class ConversationStore: Sendable {
  private struct State {
    var messages: [String: [ChatMessage]] = [:]
    /// The oldest first.
    var order: [String] = []
    var bytes = 0
  }

  private let state = Mutex(State())
  private static let (countLimit, byteLimit) = (500, 256 << 20)

  func keep(_ messages: [ChatMessage], as id: String) {
    state.withLock { state in
      state.messages[id] = messages
      state.order.append(id)
      state.bytes += Self.size(messages)
      while state.order.count > Self.countLimit || state.bytes > Self.byteLimit, !state.order.isEmpty {
        let oldest = state.order.removeFirst()
        state.bytes -= Self.size(state.messages.removeValue(forKey: oldest) ?? [])
      }
    }
  }

  /// - Throws: a refusal for an id that was never given, or is forgotten.
  func messages(of id: String) throws(Refusal) -> [ChatMessage] {
    guard let messages = state.withLock({ $0.messages[id] }) else {
      throw Refusal(
        .notFound, "there is no answer \(LimnError.printable(id)) to go on from", param: "previous_response_id",
        code: "previous_response_not_found")
    }
    return messages
  }

  private static func size(_ messages: [ChatMessage]) -> Int {
    messages.reduce(0) { total, message in
      message.parts.reduce(total) { total, part in
        switch part {
        case .text(let text): total + text.utf8.count
        case .image(.data(let bytes, _)): total + bytes.count
        case .image: total
        }
      }
    }
  }
}
