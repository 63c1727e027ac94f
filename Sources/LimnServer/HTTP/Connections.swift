import CLimnSystem
package import NIOCore
import Synchronization

/// Counts open connections, so that no client takes all the files that this process may open: models and sockets need
/// some as well.
package final class Connections: Sendable {
  /// The most of all clients together, and of one address.
  package let most: Int, mostEach: Int
  private let open = Mutex<[String: Int]>([:])

  /// - Parameter files: how many files this process may have open.
  package init(files: Int = Int(limn_most_open_files())) {
    most = max(files - 128, files / 2)
    mostEach = most / 2
  }

  /// Counts a connection until it ends, or closes it where there are too many.
  package func admit(_ channel: any Channel) {
    let address = channel.remoteAddress?.ipAddress ?? ""
    guard enter(address) else { return channel.close(promise: nil) }
    channel.closeFuture.whenComplete { [self] _ in leave(address) }
  }

  /// - Parameter address: of the client; empty for a Unix socket.
  package func enter(_ address: String) -> Bool {
    open.withLock { open in
      // Behind a reverse proxy, and for the programs of this computer, one address is many clients.
      let isOwn = address.isEmpty || address == "::1" || address.hasPrefix("127.")
      let all = open.values.reduce(0, +)
      guard all < most, isOwn || open[address, default: 0] < mostEach else { return false }
      open[address, default: 0] += 1
      return true
    }
  }

  package func leave(_ address: String) {
    open.withLock { open in
      let rest = (open[address] ?? 0) - 1
      open[address] = rest > 0 ? rest : nil
    }
  }
}
