import Foundation
import Testing

private let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path
private let tinyModel = fixtures + "/Models/checkpoints/llama-mha"
private let textOnly = fixtures + "/Models/checkpoints/gguf/llama.gguf"

@Suite struct ConversionCommandTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

  @Test("quantize writes a pair that ask opens, and reports what each tensor lost")
  func quantize() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let outcome = try limn("quantize", tinyModel, "--to", "q4_k_m", "--output", folder, "--report")
    #expect(outcome.code == 0, "\(outcome.err)")
    let pair = folder + "/llama-mha-Q4_K_M.gguf"
    #expect(outcome.out.hasPrefix(pair + "\n" + folder + "/llama-mha-mmproj-f16.gguf\n"))
    #expect(outcome.out.contains("worst"))
    let answer = try limn("ask", "hello", "--model", pair, "--max-tokens", "2")
    #expect(answer.code == 0, "\(answer.err)")
    let again = try limn("quantize", tinyModel, "--to", "Q4_K_M", "--output", folder)
    #expect(again.code == 2 && again.errorLines.count == 1 && again.err.contains("--force"))
    #expect(try limn("quantize", tinyModel, "--to", "Q4_K_M", "--output", folder, "--force").code == 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
  }

  @Test("without --output the pair is written here, named after the model and the type; a log shows the progress")
  func usualOutput() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let outcome = try limn("quantize", tinyModel, "--to", "Q3_K_M", directory: folder)
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(outcome.out == "llama-mha-Q3_K_M.gguf\nllama-mha-mmproj-f16.gguf\n")
    #expect(outcome.errorLines.contains { $0.contains("0 %  ") } && !outcome.err.contains("\r"))
    let quiet = try limn("quantize", tinyModel, "--to", "q2_k", "--quiet", directory: folder)
    #expect(quiet.code == 2 && quiet.err.contains("llama-mha-mmproj-f16.gguf"), "\(quiet.err)")
    let forced = try limn("quantize", tinyModel, "--to", "q2_k", "--quiet", "--force", directory: folder)
    #expect(forced.code == 0 && forced.err.isEmpty && forced.out.hasPrefix("llama-mha-Q2_K.gguf\n"))
  }

  @Test("convert writes a folder that ask opens")
  func convert() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let outcome = try limn("convert", tinyModel, "--to", "hf", "--type", "bf16", "--output", folder)
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(try limn("ask", "hello", "--model", folder, "--max-tokens", "2").code == 0)
  }

  @Test("an adapter away from its base is converted with --base")
  func base() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let adapter = folder + "/adapter"
    try FileManager.default.copyItem(atPath: fixtures + "/Models/checkpoints/lora-whole", toPath: adapter)
    for arguments in [
      ["quantize", adapter, "--to", "Q8_0", "--output", folder + "/pair"],
      ["convert", adapter, "--to", "gguf", "--output", folder + "/f16"],
      ["convert", adapter, "--to", "hf", "--output", folder + "/hf"],
    ] {
      let alone = try limn(arguments)
      #expect(alone.code == 66 && alone.errorLines.count == 1 && alone.err.contains("--base"), "\(alone.err)")
      let outcome = try limn(arguments + ["--base", tinyModel])
      #expect(outcome.code == 0, "\(outcome.err)")
    }
    for result in ["/pair/adapter-Q8_0.gguf", "/f16/adapter-f16.gguf", "/hf"] {
      #expect(try limn("ask", "hello", "--model", folder + result, "--max-tokens", "2").code == 0)
    }
    let whole = try limn("quantize", tinyModel, "--to", "Q8_0", "--output", folder + "/x", "--base", tinyModel)
    #expect(whole.code == 2 && whole.errorLines.count == 1 && whole.err.contains("--base"))
  }

  @Test("a bitsandbytes checkpoint can be quantised again, and the report names its types")
  func bitsandbytes() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (model, type) in [("bnb-nf4", "NF4"), ("bnb-int8", "LLM.int8")] {
      let outcome = try limn(
        "quantize", fixtures + "/Models/checkpoints/" + model, "--to", "Q8_0", "--output", folder, "--report")
      #expect(outcome.code == 0 && outcome.err.contains("quantised already"), "\(outcome.err)")
      #expect(outcome.out.contains("\(type) → Q8_0"))
      let answer = try limn("ask", "hello", "--model", "\(folder)/\(model)-Q8_0.gguf", "--max-tokens", "2")
      #expect(answer.code == 0, "\(answer.err)")
    }
  }

  @Test(
    "wrong usage ends with 2 and says what is wrong",
    arguments: [
      ["quantize", "x"], ["quantize", "x", "--to", "Q3", "--output", "y"],
      ["quantize", "x", "--to", "Q8_0", "--output", "y", "--vision", "Q4_0"],
      ["quantize", "x", "--to", "Q8_0", "--output", "y", "--scenes", "z"],
      ["quantize", "x", "--to", "Q8_0", "--output", "y", "--threads", "0"],
      ["convert", "x", "--to", "onnx", "--output", "y"], ["convert", "x", "--to", "gguf"],
      ["convert", "x", "--to", "hf", "--output", "y", "--type", "Q8_0"],
    ])
  func usage(_ arguments: [String]) throws {
    let outcome = try limn(arguments)
    #expect(outcome.code == 2 && !outcome.err.isEmpty && outcome.out.isEmpty)
  }

  @Test("a model that is missing, cannot be converted or cannot be written ends with one line")
  func refusals() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (arguments, code) in [
      (["quantize", "/nowhere/model", "--to", "Q8_0", "--output", folder], Int32(66)),
      (["convert", textOnly, "--to", "hf", "--output", folder], 65),
      (["convert", fixtures + "/Models/checkpoints/projector-norms", "--to", "hf", "--output", folder], 65),
      (["convert", tinyModel, "--to", "gguf", "--output", "/proc/nowhere"], 69),
      (["convert", tinyModel, "--to", "hf", "--output", textOnly], 2),
      (["quantize", fixtures + "/Models/cases.json", "--to", "Q8_0", "--output", folder], 65),
    ] {
      let outcome = try limn(arguments)
      #expect(outcome.code == code && outcome.errorLines.count == 1 && outcome.out.isEmpty, "\(outcome.err)")
      #expect(!FileManager.default.fileExists(atPath: folder))
    }
  }
}
