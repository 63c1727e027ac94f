import Foundation
import LimnHub
import Testing

/// The bytes of an address, as the system parses its text.
private func bytes(_ text: String) throws -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 16 : 4)
  try #require(inet_pton(bytes.count == 16 ? AF_INET6 : AF_INET, text, &bytes) == 1, "\(text)")
  return bytes
}

@Suite struct AddressPolicyTests {
  @Test(
    "special and private addresses are not public",
    arguments: [
      "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
      "127.255.0.9",
      "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
      "192.168.1.1",
      "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.2.3", "240.0.0.1",
      "255.255.255.255",
      "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
      "64:ff9b::192.168.0.1",
      "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "fc00::1",
      "fdff::1", "fe80::1",
      "febf::1", "fec0::1", "ff02::1", "5f00::1",
    ])
  func special(_ address: String) throws {
    #expect(!AddressPolicy.publicOnly.allows(try bytes(address)))
    #expect(AddressPolicy.any.allows(try bytes(address)))
  }

  @Test(
    "addresses just outside the private blocks are public",
    arguments: [
      "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
      "169.253.0.1",
      "169.255.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0",
      "198.17.255.255",
      "198.20.0.0", "223.255.255.255",
      "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2001:db9::1", "2003::1",
      "2606:4700::1111",
      "3ffe::1",
    ])
  func ordinary(_ address: String) throws {
    #expect(AddressPolicy.publicOnly.allows(try bytes(address)))
  }

  @Test("anything but an IPv4 or IPv6 address is not public")
  func neither() {
    #expect(!AddressPolicy.publicOnly.allows([]))
    #expect(!AddressPolicy.publicOnly.allows([8, 8, 8]))
  }
}
