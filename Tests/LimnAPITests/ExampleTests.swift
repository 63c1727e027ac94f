import Foundation
import Testing

/// The programs in Examples, as they were built beside these tests.
@Suite struct ExampleTests {
  static let description = """
    It is a clear winter sunset. There is a white lighthouse, one tree and a balloon. \
    The mood is tranquility and solitude.
    """

  @Test("Ask prints the answer that the README shows")
  func ask() throws {
    let outcome = try run("ExampleAsk", "Examples/lighthouse.png", "Describe this picture.")
    #expect(outcome == Outcome(code: 0, out: Self.description + "\n", err: ""))
    #expect(try text("README.md").contains(Self.description))
  }

  @Test("Stream prints the same answer, piece by piece")
  func stream() throws {
    let outcome = try run("ExampleStream", "Examples/lighthouse.png", "Describe this picture.")
    #expect(outcome.code == 0)
    #expect(outcome.out == Self.description + "\n")
    #expect(outcome.err.hasSuffix(" tokens\n"))
  }

  @Test("Batch answers every question about every picture, and names the one that is not there")
  func batch() throws {
    let question = "Describe this picture."
    let outcome = try run(
      "ExampleBatch", "Examples/lighthouse.png", "missing.png", "Examples/camp.png", "--", question, "What is the mood?"
    )
    #expect(outcome.code == 1)
    let lines = outcome.out.split(separator: "\n")
    #expect(lines.count == 4)
    #expect(lines.contains("Examples/lighthouse.png\t\(question)\t\(Self.description)"))
    let errors = outcome.err.split(separator: "\n")
    #expect(errors.count == 2)
    #expect(errors.allSatisfy { $0.hasPrefix("missing.png: no such file") })
  }

  @Test("Fields prints the values that the answer's JSON has")
  func fields() throws {
    let outcome = try run("ExampleFields", "Examples/lighthouse.png")
    #expect(outcome == Outcome(code: 0, out: "sunset: tranquility and solitude\n", err: ""))
    #expect(try run("ExampleFields").code == 2)
    #expect(try run("ExampleFields", "missing.png").err.contains("missing.png: no such file"))
  }

  @Test(
    "a wrong use prints how to use the program and exits with 2",
    arguments: ["ExampleAsk", "ExampleStream", "ExampleBatch"])
  func wrongUse(program: String) throws {
    let outcome = try run(program, "Examples/camp.png")
    #expect(outcome.code == 2)
    #expect(outcome.out.isEmpty)
    #expect(outcome.err.hasPrefix("usage: \(program) PICTURE"))
  }

  @Test("a picture that is not there is an error that names it", arguments: ["ExampleAsk", "ExampleStream"])
  func missingImage(program: String) throws {
    let outcome = try run(program, "missing.png", "What is this?")
    #expect(outcome.code == 1)
    #expect(outcome.out.isEmpty)
    #expect(outcome.err.contains("missing.png: no such file; check the path"))
  }
}

private struct Outcome: Equatable {
  let code: Int32
  let out: String
  let err: String
}

/// Runs a program in the root of the repository, with the demo model.
private func run(_ program: String, _ arguments: String...) throws -> Outcome {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  // The products lie where the test bundle does; its path is in the arguments of the runner.
  let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
  let products = bundle.map { URL(fileURLWithPath: $0).deletingLastPathComponent() } ?? Bundle.main.bundleURL
  // Files, not pipes: a pipe that nobody empties would stop a program that says much.
  let (out, err) = (folder.appendingPathComponent("out"), folder.appendingPathComponent("err"))
  for file in [out, err] { try Data().write(to: file) }
  let process = Process()
  process.executableURL = products.appendingPathComponent(program)
  process.arguments = arguments
  process.currentDirectoryURL = root
  process.environment = ProcessInfo.processInfo.environment.filter { $0.key != "LIMN_MODEL" }
  process.standardInput = FileHandle.nullDevice
  process.standardOutput = try FileHandle(forUpdating: out)
  process.standardError = try FileHandle(forUpdating: err)
  try process.run()
  process.waitUntilExit()
  return Outcome(
    code: process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus,
    out: try String(contentsOf: out, encoding: .utf8), err: try String(contentsOf: err, encoding: .utf8))
}
