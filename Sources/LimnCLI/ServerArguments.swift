import ArgumentParser
import Foundation
import LimnHub

/// Which running server is meant.
struct ServerArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The server's address. Default: $LIMN_SERVER, else \(RunningServer.usualAddress).", valueName: "url"))
  var server: String?
  @Option(help: ArgumentHelp("The Unix socket that it listens at.", valueName: "path")) var unix: String?
  @Option(help: ArgumentHelp("One of its keys. Default: $LIMN_API_KEY.", valueName: "key")) var apiKey: String?

  var running: RunningServer {
    let environment = ProcessInfo.processInfo.environment.filter { !$0.value.isEmpty }
    var address = server ?? environment["LIMN_SERVER"] ?? RunningServer.usualAddress
    if !address.contains("://") { address = "http://" + address }
    while address.hasSuffix("/") { address.removeLast() }
    return RunningServer(address: address, socket: unix, key: apiKey ?? environment["LIMN_API_KEY"])
  }
}
