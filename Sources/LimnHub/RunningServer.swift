package import LimnCore
import Synchronization

/// A limn server that runs on this computer or another one, asked over its own APIs.
package struct RunningServer: Sendable {
  package static let usualAddress = "http://127.0.0.1:8420"

  /// http://host:port
  package let address: String
  /// The path of the Unix socket it listens at, instead of `address`.
  package let socket: String?
  private let key: String?

  package init(address: String = usualAddress, socket: String? = nil, key: String? = nil) {
    self.address = socket == nil ? address : "http://localhost"
    self.socket = socket
    self.key = key
  }

  /// A model that it has open.
  package struct OpenModel: Sendable {
    package let name: String
    /// Bytes in memory with a full context.
    package let bytes: Int
    /// In tokens.
    package let context: Int
    /// When it is closed unless it is used again, in ISO 8601.
    package let expires: String
  }

  /// - Throws: `unavailable` where no server answers.
  package func openModels() async throws(LimnError) -> [OpenModel] {
    let answer = try await ask("/api/ps", .get)
    guard let models = answer.object?["models"]?.array else { throw unknown }
    return models.compactMap(\.object).compactMap { model in
      guard let name = model["name"]?.string else { return nil }
      return OpenModel(
        name: name.hasSuffix(":latest") ? String(name.dropLast(7)) : name, bytes: model["size"]?.int ?? 0,
        context: model["context_length"]?.int ?? 0, expires: model["expires_at"]?.string ?? "")
    }
  }

  /// Closes a model; answers under way are finished.
  /// - Throws: `notFound` for a model that it does not serve.
  package func close(_ model: String) async throws(LimnError) {
    let body = JSON.object(["instance_id": .string(model)]).serialised()
    do throws(LimnError) {
      _ = try await ask("/api/v1/models/unload", .post(Array(body.utf8)))
    } catch {
      guard error.kind == .notFound else { throw error }
      throw LimnError(.notFound, "the server has no model of this name", in: place, found: model)
    }
  }

  private func ask(_ path: String, _ method: Transfer.Method) async throws(LimnError) -> JSON {
    var transfer = Transfer(address + path)
    transfer.method = method
    transfer.socket = socket
    transfer.redirects = 0
    transfer.addresses = .direct
    transfer.limits.bytes = 16 << 20
    if case .post = method { transfer.headers.append(("Content-Type", "application/json")) }
    if let key { transfer.headers.append(("Authorization", "Bearer \(key)")) }
    let received = Mutex<[UInt8]>([])
    let response: Transfer.Response
    do throws(LimnError) {
      response = try await transfer.run(receive: { piece in received.withLock { $0.append(contentsOf: piece) } })
    } catch {
      guard error.kind == .unavailable, error.remedy != LimnError.libraryRemedy else { throw error }
      throw LimnError(
        .unavailable, "no server answers", in: place, remedy: "start one with `limn serve`, or name its address")
    }
    let bytes = received.withLock { $0 }
    let answer = try? JSON.parse(bytes, place: place)
    if response.status == 401 {
      throw LimnError(.usage, "this server wants a key", in: place, remedy: "give one of its keys: --api-key")
    }
    guard let answer else { throw unknown }
    guard response.status == 200 else {
      let error = answer.object?["error"]
      let message = error?.object?["message"]?.string ?? error?.string ?? HTTPStatus.name(response.status)
      throw LimnError(response.status == 404 ? .notFound : .unavailable, "\(message)", in: place)
    }
    return answer
  }

  private var place: String { socket ?? address }

  private var unknown: LimnError {
    LimnError(
      .unavailable, "what answers there is no limn server", in: place, remedy: "name the address of one: --server")
  }
}
