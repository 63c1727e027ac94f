import Foundation
import HTTPTypes
import LimnCore
import Testing

import LimnServer

@Suite("Who may talk to the server")
struct AccessTests {
  @Test(
    "a Host that is no address and no name of this machine is refused on every path",
    arguments: [
      "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:x", "[::1", "", "127.1",
      "evil.example:8420", "host.docker.internal",
    ])
  func foreignHosts(host: String) async throws {
    let tester = try ServerTester()
    for path in ["/", "/health", "/v1/models", "/api/tags", "/nothing"] {
      #expect(try await tester.get(path, host: host).status == 403, "\(path)")
    }
    #expect(try await tester.get("/v1/models", method: .options, host: host).status == 403)
  }

  @Test(
    "addresses and this machine's names are served",
    arguments: ["127.0.0.1", "127.0.0.1:8420", "[::1]:8420", "LOCALHOST:1", "page.localhost", "192.168.1.7:8420"])
  func ownHosts(host: String) async throws {
    #expect(try await ServerTester().get("/v1/models", host: host).status == 200)
  }

  @Test("a name that was allowed is served")
  func namedHosts() async throws {
    let tester = try ServerTester { $0.hostNames = ["Pictures.example"] }
    #expect(try await tester.get("/v1/models", host: "pictures.example:80").status == 200)
    let open = try ServerTester { $0.host = "0.0.0.0" }
    #expect(try await open.get("/v1/models", host: "host.docker.internal:8420").status == 200)
  }

  @Test(
    "a page of another origin is refused before any work, and may read nothing",
    arguments: ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1:8420.evil.example"])
  func origins(origin: String) async throws {
    let tester = try ServerTester()
    for method in [HTTPRequest.Method.get, .post, .options] {
      let reply = try await tester.send(
        method, "/v1/models", [.origin: origin, .accessControlRequestMethod: "POST"], "127.0.0.1:8420", "")
      #expect(reply.status == 403)
      #expect(reply.headers[.accessControlAllowOrigin] == nil)
    }
  }

  @Test("the server's own page passes, and one that was named may read answers")
  func namedOrigins() async throws {
    let tester = try ServerTester { $0.origins = ["https://chat.example"] }
    let own = try await tester.get("/v1/models", headers: [.origin: "http://localhost:8420"], host: "localhost:8420")
    #expect(own.status == 200 && own.headers[.accessControlAllowOrigin] == nil)
    let named = try await tester.get("/v1/models", headers: [.origin: "https://chat.example"])
    #expect(named.headers[.accessControlAllowOrigin] == "https://chat.example")
    let preflight = try await tester.get(
      "/v1/models", method: .options, headers: [.origin: "https://chat.example", .accessControlRequestMethod: "POST"])
    #expect(preflight.status == 204)
  }

  @Test("with keys every path but the health checks needs one, in either header", arguments: ["first", "second"])
  func keys(key: String) async throws {
    let tester = try ServerTester { $0.apiKeys = ["first", "second"] }
    let other = HTTPField.Name("x-api-key")!
    for path in ["/v1/models", "/api/tags", "/api/v1/models", "/metrics", "/nothing"] {
      #expect(try await tester.get(path).status == 401)
      #expect(try await tester.get(path, headers: [.authorization: "bearer \(key)"]).status != 401)
      #expect(try await tester.get(path, headers: [other: key]).status != 401)
    }
    #expect(try await tester.get("/health").status == 200)
  }

  @Test("keys that are nearly right are wrong", arguments: ["", "firs", "firstx", "FIRST", "first,second", "*", "é"])
  func wrongKeys(key: String) async throws {
    let tester = try ServerTester { $0.apiKeys = ["first", "second"] }
    for header in ["Bearer \(key)", "Basic first", key] {
      let reply = try await tester.get("/v1/models", headers: [.authorization: header])
      #expect(reply.status == 401)
      #expect(try reply.json["error"]?["code"]?.string == "invalid_api_key")
    }
    #expect(try await tester.get("/v1/models?api_key=first").status == 401)
  }

  @Test(
    "pictures are never fetched from addresses that are not public, however they are written",
    arguments: [
      "http://127.0.0.1/a.png", "http://2130706433/a.png", "http://0x7f000001/a.png", "http://0177.0.0.1/", "http://0/",
      "http://[::1]/a.png", "http://[::ffff:127.0.0.1]/", "http://10.0.0.1/", "http://169.254.169.254/latest",
      "http://localhost/a.png", "http://user@127.0.0.1/", "http://127.0.0.1\\@example.org/", "http:///a.png",
      "http://１２７.0.0.1/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    ])
  func privateAddresses(url: String) async throws {
    let pictures = Pictures(ServerOptions())
    await #expect(throws: Refusal.self) { try await pictures.source(url: url, field: "url") }
  }

  @Test("a path is no picture, and the answer is the same whether the file exists")
  func paths() async throws {
    let pictures = Pictures(ServerOptions())
    var said: Set<String> = []
    for path in ["/etc/hostname", "/etc/no-such-file", "file:///etc/hostname", "~/.ssh/id_rsa"] {
      do {
        _ = try await pictures.source(url: path, field: "url")
        Issue.record("\(path) was taken")
      } catch {
        said.insert(error.message)
      }
    }
    #expect(said.count == 1)
  }

  @Test("one address gets half of the connections, this computer all of them, and each that ends leaves room")
  func connections() {
    let connections = Connections(files: 1024)
    let remote = (0..<1024).filter { _ in connections.enter("203.0.113.7") }.count
    #expect(remote == connections.mostEach && remote == 448)
    #expect(!connections.enter("203.0.113.7") && connections.enter("203.0.113.8"))
    let own = (0..<1024).filter { $0 % 2 == 0 ? connections.enter("127.0.0.1") : connections.enter("") }.count
    #expect(remote + 1 + own == connections.most && connections.most < 1024)
    #expect(!connections.enter("203.0.113.9"))
    connections.leave("203.0.113.7")
    #expect(connections.enter("203.0.113.7") && !connections.enter("203.0.113.7"))
  }
}
