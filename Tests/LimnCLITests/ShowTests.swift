import Foundation
import Testing

/// Tests what `limn show` reports for good checkpoints, and for each way in which one can be bad.
@Suite struct ShowTests {
  private static let checkpoints = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Fixtures/Models/checkpoints")

  private func path(_ name: String) -> String { Self.checkpoints.appendingPathComponent(name).path }

  /// A copy of a checkpoint's folder for a test to break; removed after the test.
  private final class Copy {
    let path: String

    init(of name: String) throws {
      path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
      try FileManager.default.copyItem(at: ShowTests.checkpoints.appendingPathComponent(name), to: url(""))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func url(_ file: String) -> URL { URL(fileURLWithPath: file.isEmpty ? path : path + "/" + file) }

    func write(_ file: String, _ text: String) throws { try Data(text.utf8).write(to: url(file)) }

    /// Sets values in a JSON file by dotted path; nil removes the key.
    func change(_ file: String, _ changes: [String: Any?]) throws {
      var object = try JSONSerialization.jsonObject(with: Data(contentsOf: url(file))) as! [String: Any]
      for (key, value) in changes { set(&object, key.split(separator: ".").map(String.init), value) }
      try JSONSerialization.data(withJSONObject: object).write(to: url(file))
    }

    private func set(_ object: inout [String: Any], _ keys: [String], _ value: Any?) {
      guard keys.count > 1 else { return object[keys[0]] = value }
      var inner = object[keys[0]] as! [String: Any]
      set(&inner, Array(keys.dropFirst()), value)
      object[keys[0]] = inner
    }

    func replace(_ file: String, _ text: String, with other: String) throws {
      let old = try String(contentsOf: url(file), encoding: .utf8)
      try write(file, old.replacingOccurrences(of: text, with: other))
    }
  }

  private struct Report {
    let code: Int32
    let facts: [String: Any]
    let findings: [[String: String]]
    let problem: String?

    /// The finding about a subject, as its level and text.
    func finding(_ about: String) -> String? {
      findings.first { $0["about"] == about }.map { "\($0["level"]!): \($0["what"]!) → \($0["remedy"]!)" }
    }
  }

  private func show(_ arguments: String...) throws -> Report {
    let outcome = try limn(["show", "--json"] + arguments)
    let object = try JSONSerialization.jsonObject(with: Data(outcome.out.utf8))
    let facts = try #require(object as? [String: Any])
    let problem = facts["problem"] as? String
    // Standard error has one line if there is a problem, and none otherwise.
    #expect(outcome.errorLines.count == (problem == nil ? 0 : 1))
    if let problem { #expect(outcome.err.contains(problem)) }
    return Report(
      code: outcome.code, facts: facts, findings: try #require(facts["findings"] as? [[String: String]]),
      problem: problem)
  }

  private func expect(_ finding: String?, _ words: [String], _ comment: Comment? = nil) {
    for word in words { #expect(finding?.contains(word) == true, "\(word) in \(finding ?? "nothing")") }
  }

  @Test("a good model is described, for people and for programs")
  func inOrder() throws {
    let report = try show(path("siglip"))
    #expect(report.code == 0 && report.problem == nil)
    let facts = report.facts.compactMapValues { $0 as? String }
    #expect(facts["layout"] == "Hugging Face")
    #expect(facts["vision_tower"] == "SigLIP, 3 layers × 15, 28 × 28 pixels in patches of 7")
    #expect(facts["image_processor"] == "SigLIP's, 28 × 28, from preprocessor_config.json")
    #expect(facts["image_token"] == "<image> (336)")
    #expect(facts["pictures"] == "one tile, 16 tokens")
    #expect(facts["chat_template"]?.contains("phi-3, recognised by the vocabulary's <|end|>") == true)
    #expect(facts["types"]?.hasPrefix("F16: ") == true)
    #expect(facts["files"]?.contains("model.safetensors") == true)
    // 2 × 2 layers × 2 heads × 6 values × 2 bytes × 256 positions
    #expect(facts["context"]?.hasPrefix("256 tokens, 24.0 KB") == true)
    #expect(!report.findings.contains { $0["level"] == "warning" && $0["about"] != "stop_token" })

    let text = try limn("show", path("siglip"), "--verbose")
    #expect(text.code == 0 && text.err.isEmpty)
    #expect(text.out.contains("vision tower      SigLIP, 3 layers"))
  }

  @Test("people read what a model does, whether it runs here and how fast; programs read the numbers")
  func overview() throws {
    let text = try limn("show", path("siglip"))
    #expect(text.code == 0 && text.err.isEmpty)
    for words in ["looks at pictures (SigLIP)", path("siglip"), "runs here", "yes", "256 tokens", "tokens per second"] {
      #expect(text.out.contains(words), "\(words) in \(text.out)")
    }
    #expect(!text.out.contains("image processor"))
    let blind = try limn("show", path("gguf/llama.gguf"))
    #expect(blind.out.contains("cannot look at pictures"), "\(blind.out)")
    let here = try #require(try show(path("siglip")).facts["here"] as? [String: Any])
    #expect(here["fits"] as? Bool == true)
    #expect(try #require(here["needed_bytes"] as? Int) < (try #require(here["memory_bytes"] as? Int)))
    #expect(try #require(here["tokens_per_second"] as? Double) > 0)
    #expect(try #require(here["first_word_seconds"] as? Double) > 0)
  }

  @Test("for a checkpoint without chat template, show says which one is used, and why")
  func missingTemplate() throws {
    expect(
      try show(path("original-bin")).finding("chat_template"),
      ["warning", "no chat template", "vicuna_v1", "--template"])
    expect(
      try show(path("llama-mha")).finding("chat_template"), ["note", "no chat template", "phi-3", "<|end|>"])
  }

  @Test("the numbers behind the lines are there for machines, also of a model that does not open")
  func summary() throws {
    func summary(_ report: Report) throws -> [String: Any] { try #require(report.facts["summary"] as? [String: Any]) }
    let whole = try summary(try show(path("llama-mha")))
    let language = try #require(whole["language"] as? [String: Any])
    #expect(language["kv_heads"] as? Int == 4 && language["head_size"] as? Int == 6)
    let context = try #require(whole["context"] as? [String: Any])
    #expect((context["key_value_bytes_per_position"] as? [String: Int])?["q8_0"] == 544)
    let copy = try Copy(of: "llama-mha")
    try copy.change("config.json", ["text_config.num_hidden_layers": 3])
    try copy.write("tokenizer.json", "[]")
    let broken = try summary(try show(copy.path))
    #expect((broken["language"] as? [String: Any])?["layers"] as? Int == 3 && broken["tokens"] == nil)
    #expect((broken["parameters"] as? [String: Int]) == (whole["parameters"] as? [String: Int]))
  }

  @Test("what the options of opening change is shown")
  func loadOptions() throws {
    let report = try show(path("llama-mha"), "--template", "plain", "--preprocess", "crop", "--threads", "1")
    #expect(report.facts["chat_template"] as? String == "plain, as asked for")
    #expect((report.facts["preprocessing"] as? String)?.hasPrefix("crop:") == true)
    #expect(try show(path("llama-mha"), "--context", "99999999").code == 2)
  }

  @Test("a chat template that does not fit the vocabulary is doubtful")
  func doubtfulTemplate() throws {
    let copy = try Copy(of: "llama-mha")
    let turn = "{% for m in messages %}{{ m.content }}"
    try copy.write("chat_template.jinja", turn + "<|im_end|>{% endfor %}")
    expect(try show(copy.path).finding("chat_template"), ["warning", "<|im_end|>", "another model's"])
    try copy.write("chat_template.jinja", turn + "</s>{% endfor %}")
    expect(try show(copy.path).finding("chat_template"), ["warning", "doubtful", "<|end|>", "--template phi-3"])
    try copy.write("chat_template.jinja", turn + "<|end|>{% endfor %}")
    let report = try show(copy.path)
    #expect(report.finding("chat_template") == nil)
    #expect((report.facts["chat_template"] as? String)?.contains("from chat_template.jinja") == true)
    try copy.write("chat_template.jinja", "{% for %}")
    let broken = try show(copy.path)
    #expect(broken.code == 65 && broken.problem?.contains("chat_template.jinja") == true)
    #expect(broken.facts["vision_tower"] != nil)
  }

  @Test("a template's stop token that the checkpoint does not name is reported")
  func stopToken() throws {
    let copy = try Copy(of: "llama-mha")
    let turn = "{% for m in messages %}{{ m.content }}"
    try copy.write("chat_template.jinja", turn + "<|end|>{% endfor %}")
    expect(
      try show(copy.path).finding("stop_token"),
      ["warning", "<|end|> (338)", "not among", "</s> (2)", "generation_config.json"])
    try copy.write("generation_config.json", #"{"eos_token_id": [2, 338]}"#)
    #expect(try show(copy.path).finding("stop_token") == nil)
    try copy.write("chat_template.jinja", turn + "<pad>{# <|end|> #}{% endfor %}")
    expect(try show(copy.path).finding("stop_token"), ["<pad> (337)", "may not end"])
  }

  @Test("a model without any stop token is reported")
  func noStopToken() throws {
    let copy = try Copy(of: "phi2")
    try copy.replace("tokenizer.json", "<|endoftext|>", with: "<|odd|>")
    try copy.change("tokenizer_config.json", ["eos_token": nil, "bos_token": nil])
    try copy.change("config.json", ["text_config.eos_token_id": nil])
    try copy.write("chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
    expect(try show(copy.path).finding("stop_token"), ["warning", "no stop token", "--stop"])
  }

  @Test("an eos that a Phi-3 GGUF's template does not end with is reported")
  func phi3() throws {
    let report = try show(path("gguf/phi3-eos.gguf"))
    #expect(report.code == 0)
    expect(
      report.finding("stop_token"),
      ["warning", "<|end|> (262)", "not among", "<|endoftext|> (260)", "tokenizer.ggml.eos_token_id"])
  }

  @Test("an image token that the tokenizer lacks is reported")
  func imageToken() throws {
    let copy = try Copy(of: "llama-mha")
    try copy.change("config.json", ["image_token_index": 9999])
    expect(try show(copy.path).finding("image_token"), ["warning", "no image token", "9999"])
    try copy.change("config.json", ["image_token_index": 300])
    expect(try show(copy.path).finding("image_token"), ["warning", "300", "ordinary"])
  }

  @Test(
    "a model in parts, or quantised by bitsandbytes, is described as a whole",
    arguments: [
      ("lora-original", "984", "put_together_with"), ("projector-only", "984", "put_together_with"),
      ("xtuner-lora", "984", "put_together_with"), ("bnb-nf4", "8320", "files"),
    ])
  func inParts(name: String, projector: String, fact: String) throws {
    let report = try show(path(name))
    #expect(report.code == 0 && report.problem == nil && report.finding("projector") == nil)
    #expect((report.facts["parameters"] as? String)?.hasSuffix("projector \(projector)") == true)
    #expect(report.facts[fact] != nil)
  }

  @Test("a projector of another model is explained, with the same exit code as asking")
  func projector() throws {
    let arguments = [path("gguf/phi3-eos.gguf"), "--mmproj", path("gguf/towers/mmproj-recent.gguf")]
    let report = try show(arguments[0], arguments[1], arguments[2])
    expect(report.finding("projector"), ["warning", "24", "8", "another model's", "--mmproj"])
    #expect(report.code == 65 && report.problem?.contains("embeddings of 8 values") == true)
    #expect(report.problem?.contains("found 24") == true && report.facts["vision_tower"] != nil)
    #expect(try limn(["ask", "hello", "--model"] + arguments).code == 65)
  }

  @Test("show says which of several fitting projector files was chosen")
  func chosenProjector() throws {
    let copy = try Copy(of: "gguf/pair")
    for name in ["mmproj-other.gguf", "tiny-mmproj.gguf"] {
      try FileManager.default.copyItem(atPath: copy.path + "/mmproj-tiny-f16.gguf", toPath: copy.path + "/" + name)
    }
    let report = try show(copy.path + "/tiny-mixed.gguf")
    #expect(report.code == 0)
    expect(
      report.finding("projector"),
      ["note", "3 projector files", "takes tiny-mmproj.gguf", "mmproj-tiny-f16.gguf", "--mmproj"])
    #expect(try show(path("gguf/pair/tiny-mixed.gguf")).finding("projector") == nil)
  }

  @Test("a missing fine-tuned vision tower is reported, and so is any tower that cannot be found")
  func tower() throws {
    let copy = try Copy(of: "original-bin")
    try copy.change(
      "config.json",
      ["unfreeze_mm_vision_tower": true, "mm_vision_tower": path("original-clip-bin")])
    let stock = try show(copy.path)
    #expect(stock.code == 0)
    expect(stock.finding("vision_tower"), ["warning", "fine-tuned", "none inside", "stock"])
    #expect(try show(path("original-tuned-tower")).finding("vision_tower") == nil)
    try copy.change("config.json", ["mm_vision_tower": "openai/none-such"])
    let missing = try show(copy.path)
    #expect(missing.code == 66 && missing.problem?.contains("fetch openai/none-such") == true)
    expect(missing.finding("vision_tower"), ["fine-tuned"])
    #expect((missing.facts["vision_tower"] as? String)?.contains("not there") == true)
    #expect((missing.facts["language_model"] as? String)?.hasPrefix("llama, 2 layers × 24") == true)
    #expect(try limn("ask", "hello", "--model", copy.path).code == 66)
  }

  @Test("filler rows in a vocabulary are noted, and one too small for its tokenizer is reported")
  func vocabulary() throws {
    expect(try show(path("llama-mha")).finding("vocabulary"), ["note", "3 rows", "filler"])
    let copy = try Copy(of: "llama-mha")
    let more = (0..<5).map { #"{"id":\#(400 + $0),"content":"<|far\#($0)|>","special":true},"# }.joined()
    try copy.replace("tokenizer.json", #""added_tokens":["#, with: #""added_tokens":["# + more)
    expect(try show(copy.path).finding("vocabulary"), ["warning", "346", "344", "too small"])
  }

  @Test("unknown, leftover and missing tensors are reported")
  func tensors() throws {
    let copy = try Copy(of: "llama-mha")
    try FileManager.default.moveItem(atPath: copy.path + "/model.safetensors", toPath: copy.path + "/a.safetensors")
    let header = #"{"strange.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     "#
    var file = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    file += Data(header.utf8) + Data(count: 4)
    try file.write(to: URL(fileURLWithPath: copy.path + "/b.safetensors"))
    expect(try show(copy.path).finding("tensors"), ["note", "1 tensor is unused", "strange.weight"])

    let shallow = try Copy(of: "llama-mha")
    try shallow.change("config.json", ["text_config.num_hidden_layers": 1])
    expect(try show(shallow.path).finding("tensors"), ["warning", "left over", "language_model.layers.1."])
    try shallow.change("config.json", ["text_config.num_hidden_layers": 3])
    let deep = try show(shallow.path)
    #expect(deep.code == 65 && deep.problem?.contains("lacks the tensor language_model.layers.2.") == true)
    #expect(deep.facts["vision_tower"] != nil && deep.facts["types"] != nil)
  }

  @Test("for a language model alone, show says what it needs to see pictures")
  func textOnly() throws {
    expect(try show(path("gguf/llama.gguf")).finding("vision_tower"), ["note", "text only", "--mmproj"])
  }

  @Test("a path with nothing to show is just an error")
  func nowhere() throws {
    let outcome = try limn("show", "/nowhere/model")
    #expect(outcome.code == 66 && outcome.out.isEmpty && outcome.errorLines.count == 1)
  }
}
