import LimnCore
public import LimnImage
import LimnText

/// One message of a conversation: texts and pictures, in the order in which the model reads them.
///
/// ```swift
/// let garden = ChatMessage(
///   .user, [.text("This is my garden:"), .image(.path("garden.jpg")), .text("What is missing?")])
/// let change = ChatMessage(.user, "What has changed?", images: [.path("before.png"), .path("after.png")])
/// ```
public struct ChatMessage: Sendable, Equatable {
  /// Who says it.
  public enum Role: String, Sendable {
    case system, user, assistant
  }

  /// What a message is made of.
  public enum Part: Sendable, Equatable {
    case text(String)
    case image(ImageSource)
  }

  /// Who says it.
  public var role: Role
  /// Texts and pictures, in the order in which they are read.
  public var parts: [Part]
  /// Whether the pictures stand exactly where the parts have them, whatever the chat template does with pictures.
  package private(set) var isInline = false

  /// The chat template gets the parts in this order; some, as their models were trained, write all pictures first.
  public init(_ role: Role, _ parts: [Part]) {
    self.role = role
    self.parts = parts
  }

  /// A text with pictures. If it contains `<image>` exactly as often as there are pictures, they stand there; otherwise
  /// they come first, and `<image>` is text like any other.
  public init(_ role: Role, _ text: String, images: [ImageSource] = []) {
    let texts = text.cut(at: ChatTemplate.imageMark)
    guard !images.isEmpty, texts.count == images.count + 1 else {
      self.init(role, images.map(Part.image) + [.text(text)])
      return
    }
    let parts = [.text(texts[0])] + zip(images, texts.dropFirst()).flatMap { [Part.image($0), .text($1)] }
    self.init(role, parts.filter { $0 != .text("") })
    isInline = true
  }

  /// The texts without the pictures.
  public var text: String { texts.joined(separator: isInline ? "" : "\n") }

  package var texts: [String] { parts.compactMap { if case .text(let text) = $0 { text } else { nil } } }

  /// The pictures, in their order.
  public var images: [ImageSource] {
    parts.compactMap { if case .image(let image) = $0 { image } else { nil } }
  }

  /// The same with pictures that stay what they are when their files change.
  package func settled() throws(LimnError) -> ChatMessage {
    var message = self
    for (index, part) in parts.enumerated() {
      if case .image(let source) = part { message.parts[index] = .image(try source.settled()) }
    }
    return message
  }
}
