import Limn
import LimnCore
import Synchronization

/// What clients come back to by an id that they were given, bounded in number and bytes: the oldest is forgotten first.
final class BoundedStore<Value: Sendable>: Sendable {
  private struct State {
    var values: [String: (value: Value, bytes: Int)] = [:]
    /// The oldest first.
    var order: [String] = []
    var bytes = 0
  }

  private let state = Mutex(State())
  private let (countLimit, byteLimit) = (500, 256 << 20)

  func keep(_ value: Value, bytes: Int, as id: String) {
    state.withLock { state in
      state.values[id] = (value, bytes)
      state.order.append(id)
      state.bytes += bytes
      while state.order.count > countLimit || state.bytes > byteLimit, !state.order.isEmpty {
        let oldest = state.order.removeFirst()
        state.bytes -= state.values.removeValue(forKey: oldest)?.bytes ?? 0
      }
    }
  }

  /// Nil for an id that was never given, or is forgotten.
  subscript(id: String) -> Value? { state.withLock { $0.values[id]?.value } }
}

/// Conversations that clients go on with by the id of an answer (`previous_response_id`).
struct ConversationStore: Sendable {
  private let store = BoundedStore<[ChatMessage]>()

  func keep(_ messages: [ChatMessage], as id: String) { store.keep(messages, bytes: Self.size(messages), as: id) }

  /// - Throws: a refusal for an id that was never given, or is forgotten.
  func messages(of id: String) throws(Refusal) -> [ChatMessage] {
    guard let messages = store[id] else {
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
