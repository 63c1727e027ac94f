extension LimnError {
  /// The codes by which programs tell errors apart. Clients of a server switch on the raw values.
  public enum Code: String, Sendable, CaseIterable {
    /// An argument or option makes no sense, or contradicts another one.
    case invalidArgument = "invalid_argument"
    /// The conversation or prompt cannot be given to the model: its template refuses it, it is empty, or its places for
    /// images do not match the number of images.
    case invalidPrompt = "invalid_prompt"
    /// A JSON schema for the answer is wrong, allows nothing, or uses what limn cannot enforce.
    case invalidSchema = "invalid_schema"
    /// Prompt and images together exceed the model's context.
    case contextLengthExceeded = "context_length_exceeded"
    /// There is no such image.
    case imageNotFound = "image_not_found"
    /// Not an image, a broken one, or one of an unsupported kind.
    case imageUnreadable = "image_unreadable"
    /// An image with too many bytes or pixels.
    case imageTooLarge = "image_too_large"
    /// The model, or a model that it builds on, does not exist.
    case modelNotFound = "model_not_found"
    /// The model's files are broken, do not belong together, or are of an unsupported kind.
    case modelUnreadable = "model_unreadable"
    /// Another file does not exist.
    case fileNotFound = "file_not_found"
    /// Another file is broken.
    case fileUnreadable = "file_unreadable"
    /// The queue of waiting requests is full; there may be room later.
    case queueFull = "queue_full"
    /// The network, the disk or the machine does not provide what is needed.
    case unavailable
    /// The caller stopped it.
    case cancelled
    /// A defect of limn itself.
    case defect
  }

  /// The same error with a more specific code, if its code was only the default of its kind.
  package func recoded(_ codes: [Kind: Code]) -> LimnError {
    guard code == kind.usualCode, let code = codes[kind] else { return self }
    var error = self
    error.code = code
    return error
  }

  /// The same error with the code for opening a model or reading its files.
  package var ofModel: LimnError { recoded([.badData: .modelUnreadable, .notFound: .modelNotFound]) }

  /// The same error with the code for reading an image.
  package var ofImage: LimnError {
    recoded([.badData: .imageUnreadable, .notFound: .imageNotFound, .unavailable: .imageUnreadable])
  }
}

extension LimnError.Kind {
  /// The default code for errors of this kind.
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
