import LimnCore

/// Why a request is not answered, before it is written in the words of an API.
package struct Refusal: Error, Sendable {
  /// The kinds that APIs tell apart.
  package enum Kind: Sendable {
    case invalidRequest, authentication, permission, notFound, methodNotAllowed, tooLarge, unsupportedMedia
    case rateLimit, timeout, unavailable, notImplemented, defect, upgradeRequired
  }

  package var kind: Kind
  package var message: String
  /// The field of the request that is wrong.
  package var param: String?
  /// What programs switch on: "model_not_found".
  package var code: String?
  /// Further headers of the response.
  package var headers: [(name: String, value: String)] = []

  init(_ kind: Kind, _ message: String, param: String? = nil, code: String? = nil) {
    self.kind = kind
    self.message = message
    self.param = param
    self.code = code
  }

  /// A field that cannot be taken as it is.
  static func invalid(_ param: String, _ message: String, code: String? = "invalid_value") -> Refusal {
    Refusal(.invalidRequest, message, param: param, code: code)
  }

  static func noSuchModel(_ name: String) -> Refusal {
    Refusal(
      .notFound, "the model '\(LimnError.printable(name))' does not exist here; GET /v1/models lists those that do",
      param: "model", code: "model_not_found")
  }

  /// HTTP's status code.
  package var status: Int {
    switch kind {
    case .invalidRequest: 400
    case .authentication: 401
    case .permission: 403
    case .notFound: 404
    case .methodNotAllowed: 405
    case .tooLarge: 413
    case .unsupportedMedia: 415
    case .upgradeRequired: 426
    case .rateLimit: 429
    case .defect: 500
    case .notImplemented: 501
    case .unavailable, .timeout: 503
    }
  }

  /// Whatever was thrown, as a refusal.
  init(_ error: any Error) {
    switch error {
    case let refusal as Refusal: self = refusal
    case let error as LimnError: self.init(error)
    case is CancellationError: self.init(.unavailable, "the server is stopping, or the client has left")
    default: self.init(.defect, "an unexpected error: \(error)", code: "defect")
    }
  }

  private init(_ error: LimnError) {
    let kind: Kind =
      switch error.code {
      case .queueFull: .rateLimit
      case .cancelled: .unavailable
      case .defect: .defect
      // The person who asks can do nothing about a broken model, and asking again does not help.
      case .modelUnreadable, .modelNotFound, .fileNotFound, .fileUnreadable: .defect
      case .unavailable: .unavailable
      default: .invalidRequest
      }
    self.init(kind, error.description(for: .json), code: error.code.rawValue)
    if kind == .defect { headers.append(("x-should-retry", "false")) }
    switch error.code {
    case .contextLengthExceeded, .invalidPrompt, .imageNotFound, .imageUnreadable, .imageTooLarge: param = "messages"
    case .invalidSchema: param = "response_format"
    default: break
    }
  }
}
