extension LimnError {
  /// What a program can tell an error by. The raw values are what a server's clients switch on.
  public enum Code: String, Sendable, CaseIterable {
    /// An argument or option makes no sense, or does not go with another one.
    case invalidArgument = "invalid_argument"
    /// The conversation or prompt cannot be put before the model: its template refuses it, it is empty, or its places
    /// for pictures are not as many as its pictures.
    case invalidPrompt = "invalid_prompt"
    /// Prompt and pictures are longer than the model's context.
    case contextLengthExceeded = "context_length_exceeded"
    /// There is no such picture.
    case imageNotFound = "image_not_found"
    /// Not a picture, a broken one, or one of a kind that is not supported.
    case imageUnreadable = "image_unreadable"
    /// A picture of too many bytes or pixels.
    case imageTooLarge = "image_too_large"
    /// The model, or another one that it is built on, is not there.
    case modelNotFound = "model_not_found"
    /// The model's files are broken, do not belong together, or are of a kind that is not supported.
    case modelUnreadable = "model_unreadable"
    /// Another file is not there.
    case fileNotFound = "file_not_found"
    /// Another file is broken.
    case fileUnreadable = "file_unreadable"
    /// As many requests wait as may wait; later there may be room.
    case queueFull = "queue_full"
    /// The network, the disk or the machine does not give what is needed.
    case unavailable
    /// The caller stopped it.
    case cancelled
    /// A defect of limn itself.
    case defect
  }

  /// The same error under a code that says more, for kinds whose usual code it has.
  package func recoded(_ codes: [Kind: Code]) -> LimnError {
    guard code == kind.usualCode, let code = codes[kind] else { return self }
    var error = self
    error.code = code
    return error
  }

  /// An error of opening a model or of reading its files.
  package var ofModel: LimnError { recoded([.badData: .modelUnreadable, .notFound: .modelNotFound]) }

  /// An error of reading a picture.
  package var ofImage: LimnError {
    recoded([.badData: .imageUnreadable, .notFound: .imageNotFound, .unavailable: .imageUnreadable])
  }
}

extension LimnError.Kind {
  /// The code of errors that say no more than their kind.
  package var usualCode: LimnError.Code {
    switch self {
    case .usage: .invalidArgument
    case .badData: .fileUnreadable
    case .notFound: .fileNotFound
    case .unavailable: .unavailable
    case .defect: .defect
    case .interrupted: .cancelled
    }
  }
}
