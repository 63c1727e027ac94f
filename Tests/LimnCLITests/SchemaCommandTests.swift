import Foundation
import LimnCore
import LimnTesting
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path

@Suite("Answers in JSON") struct SchemaCommandTests {
  private let options = ["--model", fixtures + "/Models/checkpoints/llama-mha", "--compute", "exact"]

  @Test("an answer fits the schema in a file, as text and within --json")
  func answers() throws {
    let folder = try TemporaryFolder()
    let schema = #"{"type": "object", "properties": {"mood": {"enum": ["calm", "wild"]}}, "required": ["mood"]}"#
    let file = try folder.write("schema.json", Data(schema.utf8))
    let plain = try limn(["ask"] + options + ["How is it?", "--schema", file])
    #expect(plain.code == 0, "\(plain.err)")
    let mood = try JSON.parse(plain.out, place: "the answer")["mood"]?.string
    #expect(mood == "calm" || mood == "wild")
    let report = try limn(["ask"] + options + ["How is it?", "--schema", file, "--json"])
    let json = try JSON.parse(report.out, place: "the report")
    #expect(json["finish_reason"]?.string == "stop")
    #expect(try JSON.parse(json["text"]?.string ?? "", place: "the text")["mood"]?.string == mood)
  }

  @Test("a schema that is missing, broken or cannot be enforced is refused with its place")
  func refusals() throws {
    let folder = try TemporaryFolder()
    let missing = try limn(["ask"] + options + ["How is it?", "--schema", folder.path("none.json")])
    #expect(missing.code == 66 && missing.err.contains("none.json"))
    let broken = try limn(["ask"] + options + ["How is it?", "--schema", folder.write("a.json", Data("{".utf8))])
    #expect(broken.code == 65 && broken.err.contains("a.json"))
    let schema = #"{"properties": {"n": {"multipleOf": 3}}}"#
    let other = try limn(["ask"] + options + ["How is it?", "--schema", folder.write("b.json", Data(schema.utf8))])
    #expect(other.code == 65 && other.err.contains("#/properties/n") && other.err.contains("multipleOf"))
  }
}
