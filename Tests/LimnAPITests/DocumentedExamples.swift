import Foundation
import Limn

// The Swift examples of the documents, word for word: see `DocumentTests`.

/// README.md, Limn.docc/Limn.md
func askAboutAPhoto() async throws {
  let model = try await VisionLanguageModel.load("/models/llava-phi-3-mini-hf")
  let answer = try await model.ask("What is the weather?", images: [.path("photo.jpg")])
  print(answer.text)
}

/// VisionLanguageModel.swift
func askAModel() async throws {
  let model = try await VisionLanguageModel.load("path/to/llava")
  let answer = try await model.ask("What is the weather?", images: [.path("photo.jpg")])
  print(answer.text)
}

/// Limn.docc/Limn.md
func showWhileItIsMade(_ model: VisionLanguageModel) async throws {
  for try await event in model.stream([ChatMessage(.user, "Describe this picture.", images: [.path("a.png")])]) {
    if case .text(let piece) = event { print(piece, terminator: "") }
  }
}

/// Limn.docc/Limn.md
func twoImages() -> ChatMessage {
  let message = ChatMessage(.user, [.text("Before:"), .image(.path("a.png")), .text("After:"), .image(.path("b.png"))])
  return message
}

/// ChatMessage.swift
func questionsAboutImages() -> [ChatMessage] {
  let garden = ChatMessage(
    .user, [.text("This is my garden:"), .image(.path("garden.jpg")), .text("What is missing?")])
  let change = ChatMessage(.user, "What has changed?", images: [.path("before.png"), .path("after.png")])
  return [garden, change]
}
