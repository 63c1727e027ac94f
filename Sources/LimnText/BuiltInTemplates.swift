import LimnFiles
package import LimnCore

/// A prompt format from LLaVA's training recipes, for checkpoints that carry no chat template.
///
/// Contents are strings here: messages are flattened first, and images become `<image>` on a line. No template writes
/// the first BOS, because the tokenizer adds it if the model has one.
package struct BuiltInTemplate: Sendable {
  /// The name in LLaVA's own code and papers, which `--template` takes.
  package let name: String
  /// The template's text.
  package let source: String
  /// Texts that end an answer; the tokenizer's own end-of-sequence token ends it too.
  package let stops: [String]
  /// The system message for conversations without one; nil if the format has no default.
  package let defaultSystem: String?
  private let template: ChatTemplate

  private init(_ name: String, _ source: String, stops: [String], defaultSystem: String? = nil) {
    self.name = name
    self.source = source
    self.stops = stops
    self.defaultSystem = defaultSystem
    do {
      template = try ChatTemplate(source: source, name: name)
    } catch {
      preconditionFailure("\(name): \(error)")
    }
  }

  /// Renders the prompt for a conversation; see `ChatTemplate.render`.
  package func render(messages: JSON, addGenerationPrompt: Bool = true) throws(LimnError) -> String {
    try template.render(
      messages: ChatTemplate.flattened(messages), addGenerationPrompt: addGenerationPrompt,
      specialTokens: [:],
      extra: ["default_system": defaultSystem.map { .string($0) } ?? .string("")])
  }

  package static let all: [BuiltInTemplate] = [
    vicuna, llama2, mistral, chatML, phi2, phi3, llama3, plain,
  ]

  package static var names: [String] { all.map(\.name) }

  /// - Throws: wrong usage for an unknown name; the error lists the known ones.
  package static func named(_ name: String) throws(LimnError) -> BuiltInTemplate {
    if let template = all.first(where: { $0.name == name }) { return template }
    throw LimnError(
      .usage, "there is no chat template of this name", expected: "auto, \(names.joined(separator: ", "))",
      found: name)
  }

  /// The reason for choosing a format.
  package enum Evidence: Sendable, Equatable {
    /// Special tokens that only this format uses.
    case tokens([String])
    /// Part of the checkpoint's name.
    case name(String)
    case architecture(String)
    /// No evidence: LLaVA's own format is the fallback.
    case none
  }

  /// Chooses the format for a checkpoint from signs of its training: first special tokens in the vocabulary that exist
  /// for one format only, then its names and its architecture.
  /// - Parameters:
  ///   - architecture: the language model's `general.architecture`, or `model_type` of the text config.
  ///   - names: hints such as `general.name`, `_name_or_path` and the folder's name.
  ///   - hasToken: whether the vocabulary has a token.
  package static func choose(
    architecture: String?, names: [String], hasToken: (String) -> Bool
  ) -> (template: BuiltInTemplate, evidence: Evidence) {
    for (template, tokens) in [
      (phi3, ["<|end|>", "<|assistant|>"]), (llama3, ["<|eot_id|>"]), (chatML, ["<|im_start|>"]),
    ] where tokens.allSatisfy(hasToken) {
      return (template, .tokens(tokens))
    }
    func named(_ parts: String...) -> Evidence? {
      parts.first { part in names.contains { $0.lowercased().contains(part) } }.map(Evidence.name)
    }
    let architecture = architecture?.lowercased() ?? ""
    let evidence = Evidence.architecture(architecture)
    if ["phi", "phi2", "phi-msft", "llava_phi", "mipha_phi"].contains(architecture) { return (phi2, evidence) }
    if let name = named("phi-2", "phi2") { return (phi2, name) }
    // BakLLaVA is a Mistral trained with Vicuna's format.
    if let name = named("bakllava") { return (vicuna, name) }
    if architecture.contains("mistral") { return (mistral, evidence) }
    if let name = named("mistral") { return (mistral, name) }
    if let name = named("vicuna") { return (vicuna, name) }
    if let name = named("llama-2", "llama_2", "llama2") { return (llama2, name) }
    return (vicuna, .none)
  }

  // MARK: The formats

  /// `SYS USER: Q ASSISTANT: A</s>USER: …`
  private static func twoSeparators(_ name: String, end: String) -> BuiltInTemplate {
    BuiltInTemplate(
      name,
      """
      {%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}
      {%- else %}{% set system = default_system %}{% endif %}
      {{- system + ' ' }}
      {%- for message in messages %}
        {%- if message.role == 'user' %}{{ 'USER: ' + message.content + ' ' }}
        {%- else %}{{ 'ASSISTANT: ' + message.content + '\(end)' }}{% endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}
      """, stops: [end],
      defaultSystem: """
        A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
        detailed, and polite answers to the user's questions.
        """)
  }

  package static let vicuna = twoSeparators("vicuna_v1", end: "</s>")
  package static let phi2 = twoSeparators("phi-2_v0", end: "<|endoftext|>")

  /// `[INST] Q [/INST] A </s>…`, with the system message inside the first question.
  private static func instructions(_ name: String, nextTurn: String, defaultSystem: String?)
    -> BuiltInTemplate
  {
    BuiltInTemplate(
      name,
      """
      {%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}
      {%- else %}{% set system = default_system %}{% endif %}
      {%- for message in messages %}
        {%- if message.role == 'user' %}
          {%- if not loop.first %}{{ '\(nextTurn)' }}{% endif %}
          {{- '[INST] ' }}
          {%- if loop.first and system %}{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}{% endif %}
          {{- message.content + ' [/INST]' }}
        {%- else %}{{ ' ' + message.content + ' </s>' }}{% endif %}
      {%- endfor %}
      """, stops: ["</s>"], defaultSystem: defaultSystem)
  }

  package static let llama2 = instructions(
    "llava_llama_2", nextTurn: "<s>",
    defaultSystem: """
      You are a helpful language and vision assistant. You are able to understand the visual content that the \
      user provides, and assist the user with a variety of tasks using natural language.
      """)
  /// No BOS between turns: LLaVA 1.6 leaves its separator empty.
  package static let mistral = instructions("mistral_instruct", nextTurn: "", defaultSystem: nil)

  /// No newline after `<|im_end|>`, unlike ChatML elsewhere.
  package static let chatML = BuiltInTemplate(
    "chatml_direct",
    """
    {%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\n' + default_system + '<|im_end|>' }}{% endif %}
    {%- for message in messages %}
      {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
    """, stops: ["<|im_end|>"], defaultSystem: "Answer the questions.")

  package static let phi3 = BuiltInTemplate(
    "phi-3",
    """
    {%- for message in messages %}
      {{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}
    """, stops: ["<|end|>", "<|endoftext|>"])

  package static let llama3 = BuiltInTemplate(
    "llama-3",
    """
    {%- for message in messages %}
      {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
    """, stops: ["<|eot_id|>", "<|end_of_text|>"])

  /// The format of the first training stage: an image, then its caption and a newline.
  package static let plain = BuiltInTemplate(
    "plain",
    """
    {%- for message in messages %}
      {%- if message.role == 'user' %}{{ message.content | replace('<image>\\n', '<image>') }}
      {%- elif message.role == 'assistant' %}{{ message.content + '\\n' }}{% endif %}
    {%- endfor %}
    """, stops: [])
}
