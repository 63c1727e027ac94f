import Foundation
import LimnFiles
import LimnCore
import LimnText
import Testing

/// Acceptance cases next to the package. Present in continuous integration, not in a user's clone.
private let sharedCases = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().appending(path: "../shared/checks/cases/templates").standardizedFileURL.path

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "Fixtures/Templates").path

@Suite("Chat templates")
struct ChatTemplateTests {
  @Test(
    "published templates render as transformers renders them",
    // These cases exist only in continuous integration.
    .enabled(if: FileManager.default.fileExists(atPath: sharedCases)))
  func publishedTemplates() throws {
    let cases = try #require(try JSON.parse(file: sharedCases + "/cases.json").array)
    #expect(!cases.isEmpty)
    for entry in cases {
      let folder = sharedCases + "/" + (entry["model"]?.string ?? "")
      let template = try #require(try ChatTemplate.find(in: .folder(path: folder)))
      let config = try JSON.parse(file: folder + "/tokenizer_config.json")
      var tokens: [String: String] = [:]
      for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        tokens[name] = config[name]?.string ?? config[name]?["content"]?.string
      }
      let messages = try JSON.parse(file: sharedCases + "/" + (entry["messages"]?.string ?? ""))
      let text = Result {
        try template.render(messages: messages, addGenerationPrompt: true, specialTokens: tokens)
      }
      let expected = entry["text"]?.string
      if let expected {
        #expect(try text.get() == expected, "\(entry["model"]!), \(entry["messages"]!)")
      } else {
        #expect(throws: LimnError.self) { try text.get() }
      }
    }
  }

  @Test("templates render messages of every kind as transformers does, or refuse where it does")
  func prompts() throws {
    let fixture = try JSON.parse(file: fixtures + "/prompts.json")
    let tokens = try #require(fixture["tokens"]?.object).members.reduce(into: [String: String]()) {
      $0[$1.key] = $1.value.string
    }
    let cases = try #require(fixture["cases"]?.array)
    #expect(cases.count > 20)
    for entry in cases {
      let name = try #require(entry["template"]?.string)
      let title = try #require(entry["messages"]?.string)
      let messages = try #require(fixture["messages"]?[title])
      let source = try #require(fixture["templates"]?[name]?.string)
      let template = try ChatTemplate(source: source, name: name)
      let text = try? template.render(messages: messages, addGenerationPrompt: true, specialTokens: tokens)
      #expect(text.map(ExactString.init) == entry["text"]?.string.map(ExactString.init), "\(name), \(title)")
    }
  }

  @Test("an empty conversation, or one that is not a list of objects, is refused")
  func malformedMessages() throws {
    let template = try ChatTemplate(source: "{{ messages }}", name: "test")
    for messages: JSON in [.array([]), .string("hi"), .array([.string("hi")])] {
      #expect(throws: LimnError.self) {
        try template.render(messages: messages, addGenerationPrompt: true, specialTokens: [:])
      }
    }
  }

  @Test("null members are left out, as in transformers")
  func nullMembers() throws {
    let template = try ChatTemplate(
      source: "{{ messages[0].content is defined }}{{ messages }}", name: "test")
    let messages: JSON = .array([.object(["role": .string("user"), "content": .null])])
    let text = try template.render(messages: messages, addGenerationPrompt: true, specialTokens: [:])
    #expect(text == "False[{'role': 'user'}]")
  }

  @Test(
    "a folder's template is found in transformers' order: the processor's, chat_template.json, .jinja, the tokenizer's")
  func order() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "limn-templates-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func found() throws -> String? { try ChatTemplate.find(in: .folder(path: folder.path))?.source }
    func write(_ text: String, _ name: String) throws {
      try Data(text.utf8).write(to: folder.appending(path: name))
    }
    #expect(try found() == nil)
    try write(#"{"bos_token": "<s>"}"#, "tokenizer_config.json")
    #expect(try found() == nil)
    try write(
      #"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}"#,
      "tokenizer_config.json")
    #expect(try found() == "d")
    let more = folder.appending(path: "additional_chat_templates")
    try FileManager.default.createDirectory(at: more, withIntermediateDirectories: true)
    try write("t", "additional_chat_templates/tool_use.jinja")
    #expect(try found() == "d")
    try write("a", "additional_chat_templates/default.jinja")
    #expect(try found() == "a")
    try write("j", "chat_template.jinja")
    #expect(try found() == "j")
    try write("{% if %}", "chat_template.jinja")
    #expect(throws: LimnError.self) { try found() }
    try write(#"{"chat_template": "c"}"#, "chat_template.json")
    #expect(try found() == "c")
    try write(#"{"image_token": "<image>", "chat_template": null}"#, "processor_config.json")
    #expect(try found() == "c")
    try write(#"{"chat_template": "p"}"#, "processor_config.json")
    #expect(try found() == "p")
    try write(#"{"chat_template": [{"name": "rag", "template": "r"}]}"#, "processor_config.json")
    #expect(throws: LimnError.self) { try found() }
  }

  @Test("templates that place images are distinguished from those that take strings or drop images")
  func pictures() throws {
    let fixture = try JSON.parse(file: fixtures + "/prompts.json")
    func places(_ source: String?) throws -> Bool {
      let source = try #require(source)
      return try ChatTemplate(source: source, name: "test")
        .placesImages(specialTokens: ["bos_token": "<s>", "eos_token": "</s>"])
    }
    #expect(try places(fixture["templates"]?["parts"]?.string))
    #expect(try places(fixture["templates"]?["images_first"]?.string))
    #expect(try !places(fixture["templates"]?["texts"]?.string))
    #expect(try !places("{% for m in messages %}{{ m.content }}{% endfor %}"))
    #expect(try !places("{% for m in messages %}{{ m.content | tojson }}{% endfor %}"))
    #expect(
      try !places(
        "{% for m in messages %}{% for p in m.content if p.text %}{{ p.text }}{% endfor %}{% endfor %}"))
  }

  @Test("flattened messages have their parts in order, pictures on lines of their own")
  func flattening() throws {
    let messages = try JSON.parse(
      #"""
      [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "a"},
      {"type": "image"}, {"type": "text", "text": "b"}, {"type": "image"}]}]
      """#, place: "test")
    let flat = ChatTemplate.flattened(messages)
    #expect(flat.array?[0]["content"]?.string == "S")
    #expect(flat.array?[1]["content"]?.string == "a\n<image>\nb\n<image>")
  }
}

/// The expected texts are those of LLaVA's own conversation code and of xtuner's formats.
@Suite("Built-in templates")
struct BuiltInTemplateTests {
  private let turns = """
    [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]},
    {"role": "assistant", "content": "A"}, {"role": "user", "content": "R"}]
    """

  static let vicunaSystem = """
    A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
    detailed, and polite answers to the user's questions.
    """
  static let llamaSystem = """
    You are a helpful language and vision assistant. You are able to understand the visual content that the \
    user provides, and assist the user with a variety of tasks using natural language.
    """

  @Test(
    "two turns with a picture",
    arguments: [
      ("vicuna_v1", vicunaSystem + " USER: <image>\nQ ASSISTANT: A</s>USER: R ASSISTANT:"),
      ("phi-2_v0", vicunaSystem + " USER: <image>\nQ ASSISTANT: A<|endoftext|>USER: R ASSISTANT:"),
      (
        "llava_llama_2",
        "[INST] <<SYS>>\n" + llamaSystem + "\n<</SYS>>\n\n<image>\nQ [/INST] A </s><s>[INST] R [/INST]"
      ),
      ("mistral_instruct", "[INST] <image>\nQ [/INST] A </s>[INST] R [/INST]"),
      (
        "chatml_direct",
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nQ<|im_end|>"
          + "<|im_start|>assistant\nA<|im_end|><|im_start|>user\nR<|im_end|><|im_start|>assistant\n"
      ),
      ("phi-3", "<|user|>\n<image>\nQ<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nR<|end|>\n<|assistant|>\n"),
      (
        "llama-3",
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
          + "A<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nR<|eot_id|>"
          + "<|start_header_id|>assistant<|end_header_id|>\n\n"
      ),
      ("plain", "<image>QA\nR"),
    ])
  func texts(name: String, expected: String) throws {
    let messages = try JSON.parse(turns, place: "test")
    #expect(try BuiltInTemplate.named(name).render(messages: messages) == expected)
  }

  @Test("a system message replaces the default one")
  func system() throws {
    let messages = try JSON.parse(
      #"[{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]"#, place: "test")
    let expected = [
      "vicuna_v1": "S USER: Q ASSISTANT:", "phi-2_v0": "S USER: Q ASSISTANT:",
      "llava_llama_2": "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]",
      "mistral_instruct": "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]",
      "chatml_direct": "<|im_start|>system\nS<|im_end|><|im_start|>user\nQ<|im_end|><|im_start|>assistant\n",
      "phi-3": "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\n",
    ]
    for (name, text) in expected {
      #expect(try BuiltInTemplate.named(name).render(messages: messages) == text)
    }
  }

  @Test("the format is chosen by special tokens, then names, then architecture")
  func choice() {
    func chosen(_ architecture: String?, _ names: [String] = [], tokens: Set<String> = []) -> String {
      BuiltInTemplate.choose(architecture: architecture, names: names, hasToken: tokens.contains)
        .template.name
    }
    #expect(chosen("llama") == "vicuna_v1")
    #expect(chosen("llama", tokens: ["<|end|>", "<|assistant|>", "<|endoftext|>"]) == "phi-3")
    #expect(chosen("llama", tokens: ["<|eot_id|>", "<|start_header_id|>"]) == "llama-3")
    #expect(chosen("llama", tokens: ["<|im_start|>", "<|im_end|>"]) == "chatml_direct")
    #expect(chosen("llama", ["llava-v1.6-mistral-7b"]) == "mistral_instruct")
    #expect(chosen("mistral") == "mistral_instruct")
    #expect(chosen("mistral", ["SkunkworksAI/BakLLaVA-1"]) == "vicuna_v1")
    #expect(chosen("phi2") == "phi-2_v0")
    #expect(chosen("phi", ["LLaVA-Phi"]) == "phi-2_v0")
    #expect(chosen("llama", ["llava-llama-2-13b-chat"]) == "llava_llama_2")
    #expect(chosen(nil) == "vicuna_v1")
    func evidence(_ architecture: String?, _ names: [String] = [], tokens: Set<String> = []) -> BuiltInTemplate.Evidence
    {
      BuiltInTemplate.choose(architecture: architecture, names: names, hasToken: tokens.contains).evidence
    }
    #expect(evidence("llama", tokens: ["<|eot_id|>"]) == .tokens(["<|eot_id|>"]))
    #expect(evidence("llama", ["llava-v1.6-Mistral-7b"]) == .name("mistral"))
    #expect(evidence("phi2") == .architecture("phi2"))
    #expect(evidence("llama", ["my-llava"]) == .none)
  }

  @Test("an unknown template name is a usage error")
  func unknownName() {
    let error = #expect(throws: LimnError.self) { try BuiltInTemplate.named("alpaca") }
    #expect(error?.kind == .usage)
  }
}
