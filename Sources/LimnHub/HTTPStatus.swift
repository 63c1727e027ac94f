import LimnCore

/// What a server means by the number that it answers instead of a picture.
enum HTTPStatus {
  /// "404 (not found)"
  static func name(_ status: Int) -> String { "\(status)" + (names[status].map { " (\($0))" } ?? "") }

  static func remedy(_ status: Int) -> LimnError.Text {
    switch status {
    case 401, 403, 451: "it gives this to some visitors only: save the picture with a browser, and name the file"
    case 429, 503: "try again later, or save the picture with a browser, and name the file"
    case 500...599: "try again later"
    default: "open the address in a browser to see whether it is right"
    }
  }

  private static let names = [
    204: "no content", 300: "multiple choices", 304: "not modified", 400: "bad request",
    401: "unauthorized: it wants a login",
    402: "payment required", 403: "forbidden", 404: "not found", 405: "method not allowed", 406: "not acceptable",
    407: "proxy authentication required", 408: "request timeout", 410: "gone", 413: "content too large",
    414: "address too long", 418: "I'm a teapot", 421: "misdirected request", 425: "too early",
    429: "too many requests",
    431: "request headers too large", 451: "unavailable for legal reasons", 500: "internal server error",
    501: "not implemented", 502: "bad gateway", 503: "service unavailable", 504: "gateway timeout",
    507: "insufficient storage", 511: "network authentication required",
  ]
}
