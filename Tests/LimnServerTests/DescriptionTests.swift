import HTTPTypes
import Hummingbird
import LimnCore
import Testing

import LimnServer

@Suite("The server's description of itself")
struct DescriptionTests {
  static func description(_ change: (inout ServerOptions) -> Void = { _ in }) async throws -> JSON {
    let reply = try await ServerTester(change).get("/openapi.json")
    #expect(reply.status == 200)
    return try reply.json
  }

  @Test("it names every path with its methods, and nothing else")
  func paths() async throws {
    let tester = try ServerTester()
    let described = try await Self.description()["paths"]?.object?.members.flatMap { path, item in
      (item.object?.keys ?? []).filter { $0 != "parameters" }.map { $0.uppercased() + " " + path }
    }
    let registered = tester.server.router().routes.flatMap { route -> [String] in
      let path = route.path.description.replacing("/**", with: "/{id}")
      return route.method == .get ? ["GET " + path, "HEAD " + path] : ["\(route.method.rawValue) \(path)"]
    }
    #expect(registered.count > 40)
    #expect(Set(described ?? []) == Set(registered))
  }

  @Test("every reference leads to what is there, and every name is unique")
  func references() async throws {
    let document = try await Self.description()
    func references(_ json: JSON) -> [String] {
      switch json {
      case .array(let items): items.flatMap(references)
      case .object(let object):
        object.members.flatMap { key, value in
          if key == "$ref", let text = value.string { [text] } else { references(value) }
        }
      default: []
      }
    }
    let found = Set(references(document))
    #expect(found.contains("#/components/schemas/ChatRequest") && found.contains("#/components/schemas/Model"))
    for reference in found {
      let target = reference.split(separator: "/").dropFirst().reduce(JSON?.some(document)) { $0?[String($1)] }
      #expect(target?.object != nil, "\(reference)")
    }
    let operations = document["paths"]?.object?.members.flatMap { $0.value.object?.members ?? [] }
    let names = operations?.compactMap { $0.value["operationId"]?.string } ?? []
    #expect(names.count > 40 && Set(names).count == names.count)
  }

  @Test("it names the models of this server, and how keys are brought where they are needed")
  func particulars() async throws {
    let open = try await Self.description()
    let models = open["components"]?["schemas"]?["Model"]?["enum"]?.array?.compactMap(\.string)
    #expect(models == ["limn-demo", "limn-demo:latest"])
    #expect(open["security"] == nil)
    let reply = try await ServerTester { $0.apiKeys = ["key"] }.get(
      "/openapi.json", headers: [.authorization: "Bearer key"])
    #expect(try reply.json["security"]?.array?.isEmpty == false)
    let health = try reply.json["paths"]?["/health"]?["get"]?["security"]?.array
    #expect(health?.isEmpty == true)
  }
}
