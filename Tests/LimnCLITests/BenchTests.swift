import Foundation
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let tinyModel = fixtures + "/Models/checkpoints/llama-mha"
private let tinyPicture = fixtures + "/Models/cases/llama-mha/image1.png"
private let textOnly = fixtures + "/Models/checkpoints/gguf/llama.gguf"

@Suite struct BenchTests {
  private func bench(
    _ model: String, _ options: String..., repetitions: Int = 1, input: [UInt8] = []
  ) throws -> Outcome {
    let lengths = ["--prompt-tokens", "20", "--gen-tokens", "4", "--repetitions", "\(repetitions)"]
    return try limn(["bench", "--model", model] + lengths + options, input: input)
  }

  @Test("a measurement as JSON has all figures, for a model with pictures")
  func figures() throws {
    let outcome = try bench(
      tinyModel, "--depth", "30", "--parallel", "3", "--quoting", "--json", repetitions: 2)
    #expect(outcome.code == 0, "\(outcome.err)")
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any])
    for key in [
      "load_ms", "image_encode_ms", "prompt_tokens", "prompt_per_second", "predicted_per_second",
      "first_token_ms", "second_question_ms", "peak_rss_bytes", "threads", "parallel_predicted_per_second",
      "quoting_predicted_per_second",
    ] { #expect(object[key] as? Double ?? 0 > 0, "\(key)") }
    #expect(object["prompt_tokens"] as? Int == 20 && object["depth"] as? Int == 30)
    #expect(object["isa"] is String)
    // The matrices as in the file's header, plus float16 keys and values of 2 layers and 4 heads of size 6, after 30
    // to 34 positions.
    #expect(object["bytes_per_step"] as? Int == 72_192 + 32 * 2 * 2 * 4 * 6 * 2)
    let machine = try #require(object["machine"] as? [String: Double])
    for key in ["read_gb_s", "bf16_gflop_s", "int8_gop_s"] { #expect(machine[key] ?? 0 > 0) }
    #expect(object["first_token_ms"] as! Double > object["load_ms"] as! Double)
  }

  @Test("a table has a line for each figure, and a picture from standard input serves all repetitions")
  func table() throws {
    let png = try [UInt8](Data(contentsOf: URL(fileURLWithPath: tinyPicture)))
    let outcome = try bench(tinyModel, "--image", "-", "--threads", "1", repetitions: 2, input: png)
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(outcome.out.split(separator: "\n").count == 9 && outcome.out.contains("% of what"))
  }

  @Test("a model without vision has no figures for pictures, and --image is refused")
  func languageModelAlone() throws {
    let refused = try bench(textOnly, "--image", tinyPicture)
    #expect(refused.code == 2 && refused.errorLines.count == 1 && refused.out.isEmpty)
    #expect(refused.err.contains("--image") && refused.err.contains(textOnly))
    let outcome = try bench(textOnly)
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(outcome.out.contains("first word") && !outcome.out.contains("picture"))
  }

  @Test("bench obeys the options for opening a model")
  func loadOptions() throws {
    let outcome = try bench(tinyModel, "--compute", "exact", "--preprocess", "stretch", "--context", "900", "--json")
    #expect(outcome.code == 0, "\(outcome.err)")
    // `exact` keeps keys and values in float32.
    let object = try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any]
    #expect(object?["bytes_per_step"] as? Int == 72_192 + 22 * 2 * 2 * 4 * 6 * 4)
    #expect(try bench(tinyModel, "--context", "8").code == 65)
  }

  @Test("an adapter away from its base is measured with --base")
  func base() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let adapter = folder + "/adapter"
    try FileManager.default.copyItem(atPath: fixtures + "/Models/checkpoints/lora-whole", toPath: adapter)
    let outcome = try bench(adapter, "--base", tinyModel)
    #expect(outcome.code == 0, "\(outcome.err)")
  }
}
