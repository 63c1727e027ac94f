import Foundation
import Limn
import LimnTesting
import Testing

@Suite struct ResourceTests {
  private let question = ["ask", "Which seasons are there?", "--max-tokens", "2"]

  /// The folder that holds the demo model.
  private func resources() throws -> String {
    URL(fileURLWithPath: try DemoModel.path()).deletingLastPathComponent().path
  }

  /// A copy of the command, in `bin` of this folder.
  private func copy(in folder: TemporaryFolder) throws -> String {
    let bin = URL(filePath: folder.path("bin"))
    try FileManager.default.createDirectory(at: bin, withIntermediateDirectories: true)
    let copy = bin.appending(path: "limn")
    try FileManager.default.copyItem(at: products.appending(path: "limn"), to: copy)
    return copy.path
  }

  @Test("a command that was copied without its files ends with 66 and says where it looked and what to do")
  func missing() throws {
    let folder = try TemporaryFolder()
    let outcome = try limn(question, command: try copy(in: folder))
    #expect(outcome.code == 66 && outcome.out.isEmpty && outcome.errorLines.count == 1)
    for part in ["limn-demo", "bin/limn_Limn.", "share/limn", "LIMN_RESOURCES", "--model"] {
      #expect(outcome.err.contains(part), "\(outcome.err)")
    }
    #expect(try limn(["--version"], command: folder.path("bin/limn")).code == 0)
  }

  @Test("the demo model is found in ../share/limn, through a symbolic link to the command too")
  func share() throws {
    let folder = try TemporaryFolder()
    let files = FileManager.default
    let command = try copy(in: folder)
    try files.createDirectory(atPath: folder.path("share"), withIntermediateDirectories: true)
    try files.createSymbolicLink(atPath: folder.path("share/limn"), withDestinationPath: try resources())
    let outcome = try limn(question, command: command)
    #expect(outcome.code == 0 && !outcome.out.isEmpty, "\(outcome.err)")
    let elsewhere = try TemporaryFolder()
    try files.createSymbolicLink(atPath: elsewhere.path("limn"), withDestinationPath: command)
    let linked = try limn(question, command: elsewhere.path("limn"))
    #expect(linked.code == 0 && linked.out == outcome.out, "\(linked.err)")
  }

  @Test("LIMN_RESOURCES names the folder, and no other is looked at then")
  func named() throws {
    let folder = try TemporaryFolder()
    let command = try copy(in: folder)
    let found = try limn(question, environment: ["LIMN_RESOURCES": try resources()], command: command)
    #expect(found.code == 0, "\(found.err)")
    // Beside the tests the demo model is there, but somebody meant this folder.
    let missing = try limn(question, environment: ["LIMN_RESOURCES": folder.path])
    #expect(missing.code == 66 && missing.errorLines.count == 1 && missing.err.contains(folder.path))
  }
}
