import CLimnTransfer
import Foundation
import LimnCore

extension LimnError {
  static func badAddress(_ url: String) -> LimnError {
    LimnError(.usage, "not an address to fetch from", in: url, expected: "http://host/path or https://…")
  }

  /// - Parameters:
  ///   - reason: what stopped it, in a few words.
  ///   - target: the URL that a redirect led to before the failure.
  static func notFetched(
    _ reason: String, _ transfer: Transfer, target: String? = nil,
    remedy: LimnError.Text = "check the address and the network"
  ) -> LimnError {
    LimnError(
      .unavailable, "the address could not be fetched (\(reason))", in: transfer.url,
      found: target.map { "a redirect to \($0)" }, remedy: remedy)
  }

  /// What libcurl's result means to the user; nil for success.
  init?(_ result: limn_transfer, of transfer: Transfer, redirected: Bool) {
    let target = redirected ? result.url.map { String(cString: $0) } : nil
    let message = result.message.map { String(cString: $0) } ?? ""
    let reason: String
    switch Int(result.status) {
    case LIMN_TRANSFER_OK: return nil
    case LIMN_TRANSFER_NO_LIBRARY:
      self.init(
        .unavailable, "fetching needs libcurl, which is not installed", in: transfer.url,
        remedy: Self.libraryRemedy)
      return
    case LIMN_TRANSFER_STOPPED:
      self.init(.interrupted, "stopped")
      return
    case LIMN_TRANSFER_BAD_URL where !redirected:
      self = .badAddress(transfer.url)
      return
    case LIMN_TRANSFER_REFUSED_ADDRESS:
      self.init(
        .usage, "the address is not on the public internet", in: transfer.url,
        found: target.map { "a redirect to \($0)" }, remedy: "use one that everyone can reach")
      return
    case LIMN_TRANSFER_NO_CERTIFICATES:
      self = .notFetched(
        "the list of trusted certificates cannot be read: \(message)", transfer, target: target,
        remedy: "install the package ca-certificates")
      return
    case LIMN_TRANSFER_BAD_URL: reason = "the server redirects to a malformed address"
    case LIMN_TRANSFER_BAD_PROTOCOL:
      let isHTTP = target.map { $0.hasPrefix("http://") || $0.hasPrefix("https://") } ?? true
      reason = isHTTP ? "the server does not speak HTTP" : "the server redirects to neither http nor https"
    case LIMN_TRANSFER_NO_HOST: reason = "DNS knows no host of this name"
    case LIMN_TRANSFER_NO_PROXY: reason = "DNS knows no host of the proxy's name"
    case LIMN_TRANSFER_PROXY_REFUSED: reason = "the proxy refused: \(message)"
    case LIMN_TRANSFER_NO_CONNECTION:
      let isRefusal = [0, ECONNREFUSED].contains(result.system_error)
      reason = isRefusal ? "connection refused: nobody answers there" : String(cString: strerror(result.system_error))
    case LIMN_TRANSFER_CONNECT_TIMEOUT: reason = "no connection within \(transfer.limits.connect.short)"
    case LIMN_TRANSFER_NO_TLS: reason = "no encrypted connection (TLS) can be made: \(message)"
    case LIMN_TRANSFER_BAD_CERTIFICATE: reason = "the server's TLS certificate is not trusted: \(message)"
    case LIMN_TRANSFER_TOO_MANY_REDIRECTS: reason = "more than \(transfer.redirects) redirects"
    case LIMN_TRANSFER_CUT_OFF: reason = "the server hung up before the end"
    case LIMN_TRANSFER_BAD_ENCODING: reason = "the compressed response is damaged"
    default: reason = message
    }
    self = .notFetched(reason, transfer, target: target, remedy: Self.remedy(transfer))
  }

  private static func remedy(_ transfer: Transfer) -> LimnError.Text {
    let proxies = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    let environment = ProcessInfo.processInfo.environment
    let isProxied = transfer.addresses.usesSettings && proxies.contains { environment[$0]?.isEmpty == false }
    return isProxied
      ? "check the address, the network, and the proxy in the environment"
      : "check the address and the network"
  }

  #if os(macOS)
    static let libraryRemedy: LimnError.Text = "install it: brew install curl"
  #else
    static let libraryRemedy: LimnError.Text =
      "install it: apt-get install libcurl4 (Debian, Ubuntu), dnf install libcurl (Fedora)"
  #endif
}
