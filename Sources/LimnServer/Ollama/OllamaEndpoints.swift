import LimnCore

extension Ollama {
  static let errorSchema = Schema.object(["error": .string])

  private static let most = Int(Int32.max)

  fileprivate static let requestMembers: Schema.Members = [
    "options": .object(
      [:],
      optional: [
        "temperature": .number(0...100), "top_k": .integer(-1...most), "top_p": .number(0...1),
        "min_p": .number(0...1), "repeat_penalty": .number(0.01...100), "presence_penalty": .number(-100...100),
        "frequency_penalty": .number(-100...100), "seed": .integer, "stop": OpenAI.stopsSchema,
        "num_predict": .integer(-2...most),
      ]
    ).named("OllamaOptions"),
    "format": Schema.any(.string("", "json"), .object([:])).described("json, or a JSON schema."),
    "keep_alive": Schema.any(
      .number(atMost: 1e10), .string(matching: "^-?([0-9]+|([0-9]+(h|m|s|ms|us|ns))+)$")
    ).described("Seconds, or text such as 5m; negative: for ever."),
    "think": .off, "stream": Schema.boolean.described("True if it is left out."),
  ]

  fileprivate static let pictures = Schema.list(OpenAI.inlinePictureSchema, 0...Pictures.limit)

  fileprivate static let message = Schema.object(
    ["role": .string("system", "user", "assistant", "tool")], optional: ["content": .string, "images": pictures]
  ).named("OllamaMessage")

  /// - Parameter text: the member that holds what the model says.
  fileprivate static func answer(_ text: Schema.Members) -> Schema {
    .object(
      ["model": .string, "created_at": .string] + text + [
        "done": .boolean, "done_reason": .string("stop", "length", "load", "unload"),
      ],
      optional: [
        "total_duration": .count, "load_duration": .count, "prompt_eval_count": .count,
        "prompt_eval_duration": .count, "eval_count": .count, "eval_duration": .count,
      ])
  }

  fileprivate static let details = Schema.object([
    "parent_model": .string, "format": .string("gguf", "safetensors"), "family": .string, "families": .list(.string),
    "parameter_size": .string, "quantization_level": .string,
  ]).named("OllamaDetails")

  fileprivate static let modelMembers: Schema.Members = [
    "name": .string, "model": .string, "size": .count, "digest": .string, "details": details,
  ]
}

extension Endpoint {
  static let ollamaChat = Endpoint(
    "Answer the last message of a conversation; without messages, open or close the model.",
    takes: .object(
      ["model": .model], optional: ["messages": .list(Ollama.message)] + Ollama.requestMembers
    ).named("OllamaChatRequest"),
    gives: Ollama.answer(["message": .object(["role": .string("assistant"), "content": .string])])
      .named("OllamaChatAnswer"),
    streams: OllamaStream.contentType)

  static let ollamaGenerate = Endpoint(
    "Answer one question; without a question, open or close the model.",
    takes: .object(
      ["model": .model],
      optional: [
        "prompt": .string, "images": Ollama.pictures, "system": .string, "suffix": .string(""), "raw": .boolean,
      ] + Ollama.requestMembers
    ).named("OllamaGenerateRequest"),
    gives: Ollama.answer(["response": .string]).named("OllamaGenerateAnswer"),
    streams: OllamaStream.contentType)

  static let ollamaVersion = Endpoint("The server's version.", gives: .object(["version": .string]))

  static let ollamaTags = Endpoint(
    "The models of this server.",
    gives: .object([
      "models": .list(.object(Ollama.modelMembers + ["modified_at": .string]).named("OllamaModel"))
    ]))

  static let ollamaOpenModels = Endpoint(
    "The models that are open.",
    gives: .object([
      "models": .list(
        .object(
          Ollama.modelMembers + ["expires_at": .string, "size_vram": .count, "context_length": .count]
        ).named("OllamaOpenModel"))
    ]))

  static let ollamaShow = Endpoint(
    "What a model is.",
    takes: .any(.object(["model": .model]), .object(["name": .model])),
    gives: .object([
      "license": .string, "modelfile": .string, "parameters": .string, "template": .string,
      "details": Ollama.details, "model_info": .object([:]), "capabilities": .list(.string), "modified_at": .string,
    ]))

  static let ollamaEmbed = Endpoint(
    "Vectors of texts.",
    takes: .object(["model": .model, "input": Embeddings.inputSchema]),
    gives: .object([
      "model": .string, "embeddings": .list(.list(.number)), "total_duration": .count, "load_duration": .count,
      "prompt_eval_count": .count,
    ]))

  static let ollamaEmbeddings = Endpoint(
    "The vector of a text.",
    takes: .object(["model": .model, "prompt": Embeddings.inputSchema]),
    gives: .object(["embedding": .list(.number)]))
}
