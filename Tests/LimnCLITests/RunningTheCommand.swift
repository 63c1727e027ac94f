import Foundation

/// The result of running the command once.
struct Outcome {
  let code: Int32
  let out: String
  let err: String

  /// The non-empty lines on standard error.
  var errorLines: [Substring] { err.split(separator: "\n") }
}

/// Runs the command that was built with these tests.
/// - Parameters:
///   - input: the contents of standard input.
///   - directory: where it runs; nil: where these tests do.
func limn(
  _ arguments: String..., input: [UInt8] = [], environment: [String: String] = [:], directory: String? = nil
) throws -> Outcome {
  try limn(arguments, input: input, environment: environment, directory: directory)
}

/// - Parameter command: another place of the command; nil: beside these tests.
func limn(
  _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], directory: String? = nil,
  command: String? = nil
) throws -> Outcome {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  // Use files, not pipes: a pipe that nobody empties would block a command that prints much.
  func file(_ name: String, _ content: [UInt8] = []) throws -> FileHandle {
    let url = folder.appendingPathComponent(name)
    try Data(content).write(to: url)
    return try FileHandle(forUpdating: url)
  }
  let (standardInput, out, err) = (try file("in", input), try file("out"), try file("err"))
  let process = Process()
  process.executableURL = command.map { URL(fileURLWithPath: $0) } ?? products.appendingPathComponent("limn")
  process.arguments = arguments
  var variables = ProcessInfo.processInfo.environment.filter { !["LIMN_MODEL", "LIMN_RESOURCES"].contains($0.key) }
  variables.merge(environment) { $1 }
  process.environment = variables
  if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
  process.standardInput = standardInput
  process.standardOutput = out
  process.standardError = err
  try process.run()
  process.waitUntilExit()
  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: folder.appendingPathComponent(name)), as: UTF8.self)
  }
  return Outcome(
    code: process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus,
    out: try text("out"), err: try text("err"))
}

/// Where the build puts its products: the folder of this test bundle.
let products: URL = {
  // On Linux the test runner's arguments name the bundle, which is a file in that folder.
  for argument in CommandLine.arguments where argument.contains(".xctest") {
    return URL(fileURLWithPath: argument).deletingLastPathComponent()
  }
  return Bundle.main.bundleURL
}()
