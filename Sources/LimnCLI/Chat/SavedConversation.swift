import Foundation
import Limn
import LimnCore
import LimnImage

/// Conversations in files: messages as `limn debug template` reads them, with the names of their pictures.
enum SavedConversation {
  static func write(_ messages: [ChatMessage], to path: String) throws(LimnError) {
    let json = messages.map { message -> JSON in
      .object([
        "role": .string(message.role.rawValue),
        "content": .array(
          message.parts.map { part in
            switch part {
            case .image(let image): .object(["type": .string("image"), "image": .string(place(of: image))])
            case .text(let text): .object(["type": .string("text"), "text": .string(text)])
            }
          }),
      ])
    }
    do {
      try (JSON.array(json).serialised(.init(indent: 2)) + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    } catch {
      throw LimnError(.unavailable, "cannot be written", in: path, remedy: "check the folder and its permissions")
    }
  }

  /// The image's name from any folder.
  private static func place(of image: ImageSource) -> String {
    let name = image.name
    guard !name.hasPrefix("/"), FileManager.default.fileExists(atPath: name) else { return name }
    return FileManager.default.currentDirectoryPath + "/" + name
  }

  /// - Throws: `badData` for another JSON; what reading the pictures throws.
  static func read(_ path: String) async throws(LimnError) -> [ChatMessage] {
    let expected = "a conversation that /save wrote"
    guard let rows = try JSON.parse(file: path).array, !rows.isEmpty else {
      throw .badData("there are no messages", in: path, expected: expected)
    }
    var messages: [ChatMessage] = []
    for row in rows {
      guard let role = row["role"]?.string.flatMap(ChatMessage.Role.init(rawValue:)), let content = row["content"]
      else {
        throw .badData("a message without role or content", in: path, expected: expected)
      }
      var parts: [ChatMessage.Part] = content.string.map { [.text($0)] } ?? []
      for part in content.array ?? [] {
        if let image = part["image"]?.string {
          parts.append(.image(try await PictureName.source(image).settled()))
        } else if let text = part["text"]?.string {
          parts.append(.text(text))
        } else {
          throw .badData("a part that is neither text nor picture", in: path, expected: expected)
        }
      }
      messages.append(ChatMessage(role, parts))
    }
    return messages
  }
}
