/// Which machines a transfer may connect to.
package struct AddressPolicy: Sendable {
  /// Any: the person who runs the command chose the address, which may well be a machine of their own.
  package static let any = AddressPolicy(usesSettings: true) { _ in true }

  /// Any address, without proxies and ~/.netrc: for a server of one's own.
  package static let direct = AddressPolicy(usesSettings: false) { _ in true }

  /// Only the public internet: for URLs from strangers, who must not reach the network behind a server by way of it.
  ///
  /// The address is checked after it is resolved, just before connecting and again at each redirect, so that neither a
  /// name that points inside nor one that resolves differently the second time gets through. A proxy would resolve and
  /// connect out of sight, so proxies are not used; a machine that reaches the internet only through one fetches
  /// nothing under this policy. Nor is `~/.netrc` read, whose passwords are not meant for strangers.
  package static let publicOnly = AddressPolicy(usesSettings: false, allows: isPublic)

  /// Whether the environment's proxies and `~/.netrc` are used. With a proxy, the address checked is the proxy's.
  let usesSettings: Bool
  /// Checks 4 bytes of IPv4 or 16 of IPv6.
  package let allows: @Sendable ([UInt8]) -> Bool

  package init(usesSettings: Bool, allows: @escaping @Sendable ([UInt8]) -> Bool) {
    self.usesSettings = usesSettings
    self.allows = allows
  }
}

// MARK: - Public addresses

extension AddressPolicy {
  private static func isPublic(_ address: [UInt8]) -> Bool {
    switch address.count {
    case 4: !special4.contains { $0.contains(address) }
    case 16 where embedding.contains { $0.contains(address) }: isPublic(Array(address.suffix(4)))
    case 16: global6.contains(address) && !special6.contains { $0.contains(address) }
    default: false
    }
  }

  /// Addresses with a common prefix.
  private struct Block {
    let start: [UInt8]
    let bits: Int

    init(_ start: UInt8..., bits: Int) {
      self.start = start
      self.bits = bits
    }

    func contains(_ address: [UInt8]) -> Bool {
      for (i, byte) in address.enumerated() {
        let left = bits - 8 * i
        guard left > 0 else { return true }
        let mask = left >= 8 ? 0xFF : ~(0xFF as UInt8 >> UInt8(left))
        guard (i < start.count ? start[i] : 0) == byte & mask else { return false }
      }
      return true
    }
  }

  // IANA's registries of special-purpose addresses, plus multicast and reserved ranges.

  private static let special4 = [
    Block(0, bits: 8),  // this network, and the unspecified address
    Block(10, bits: 8), Block(172, 16, bits: 12), Block(192, 168, bits: 16),  // private
    Block(100, 64, bits: 10),  // carrier-grade NAT
    Block(127, bits: 8),  // loopback
    Block(169, 254, bits: 16),  // link-local, where clouds serve a machine's credentials
    Block(192, 0, 0, bits: 24),  // protocol assignments
    Block(192, 0, 2, bits: 24), Block(198, 51, 100, bits: 24), Block(203, 0, 113, bits: 24),  // documentation
    Block(192, 88, 99, bits: 24),  // 6to4 relays, deprecated
    Block(198, 18, bits: 15),  // benchmarks
    Block(224, bits: 4), Block(240, bits: 4),  // multicast; reserved and broadcast
  ]

  /// IPv6 addresses whose last four bytes are an IPv4 address: mapped, and translated (NAT64).
  private static let embedding = [
    Block(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, bits: 96), Block(0, 0x64, 0xFF, 0x9B, bits: 96),
  ]

  /// The only part of IPv6 in public use; the rest is loopback, link-local, site-local, multicast or reserved.
  private static let global6 = Block(0x20, bits: 3)
  private static let special6 = [
    Block(0x20, 0x01, bits: 23),  // protocol assignments, and Teredo, which embeds IPv4 addresses
    Block(0x20, 0x01, 0x0D, 0xB8, bits: 32), Block(0x3F, 0xFF, bits: 20),  // documentation
    Block(0x20, 0x02, bits: 16),  // 6to4, which embeds IPv4 addresses
  ]
}
