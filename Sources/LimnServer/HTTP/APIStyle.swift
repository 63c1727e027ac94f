import LimnCore

/// Whose words a path speaks.
enum APIStyle: Sendable, CaseIterable {
  case openAI, ollama, anthropic, lmStudio

  init(path: String) {
    if path.hasPrefix("/v1/messages") {
      self = .anthropic
    } else if path.hasPrefix("/api/v1/") || path.hasPrefix("/api/v0/") {
      self = .lmStudio
    } else if path.hasPrefix("/api/") {
      self = .ollama
    } else {
      self = .openAI
    }
  }

  /// A refusal as clients of this API read it.
  func error(_ refusal: Refusal) -> JSON {
    switch self {
    case .openAI: OpenAI.error(refusal)
    case .ollama: Ollama.error(refusal)
    case .anthropic: Anthropic.error(refusal)
    case .lmStudio: LMStudio.error(refusal)
    }
  }
}
