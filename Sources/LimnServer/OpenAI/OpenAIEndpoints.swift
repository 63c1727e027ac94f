import LimnCore

extension Endpoint {
  static let chatCompletions = Endpoint(
    "Answer the last message of a conversation.",
    takes: .object(
      ["model": .model, "messages": OpenAI.messagesSchema],
      optional: OpenAI.samplingMembers + OpenAI.choicesMembers + OpenAI.toolsMembers + OpenAI.streamMembers + [
        "max_completion_tokens": OpenAI.maxTokensSchema, "max_tokens": OpenAI.maxTokensSchema,
        "response_format": OpenAI.formatSchema, "logprobs": .boolean,
        "top_logprobs": Schema.integer(0...20).described("Needs `logprobs`."),
      ]
    ).named("ChatRequest"),
    gives: .object([
      "id": .string, "object": .string("chat.completion"), "created": .count, "model": .string,
      "system_fingerprint": .string,
      "choices": .list(
        .object([
          "index": .count,
          "message": .object(["role": .string("assistant"), "content": .string, "refusal": .null]),
          "logprobs": OpenAI.logprobsSchema.orNull, "finish_reason": OpenAI.finishSchema,
        ])),
      "usage": OpenAI.usageSchema, "timings": OpenAI.timingsSchema,
    ]).named("ChatAnswer"),
    streams: ChatStream.contentType)

  static let completions = Endpoint(
    "Go on with a text, without a template.",
    takes: .object(
      [
        "model": .model,
        "prompt": .any(.string, OpenAI.tokensSchema, .list(.any(.string, OpenAI.tokensSchema), 1...1)),
      ],
      optional: OpenAI.samplingMembers + OpenAI.choicesMembers + OpenAI.streamMembers + [
        "max_tokens": OpenAI.maxTokensSchema.described("16 if it is left out."),
        "response_format": OpenAI.formatSchema, "suffix": .string(""), "echo": .boolean,
        "logprobs": .integer(0...5),
      ]
    ).named("CompletionRequest"),
    gives: .object([
      "id": .string, "object": .string("text_completion"), "created": .count, "model": .string,
      "choices": .list(
        .object([
          "index": .count, "text": .string, "logprobs": OpenAI.completionLogprobsSchema.orNull,
          "finish_reason": OpenAI.finishSchema,
        ])),
      "usage": OpenAI.usageSchema, "timings": OpenAI.timingsSchema,
    ]).named("CompletionAnswer"),
    streams: ChatStream.contentType)

  static let responses = Endpoint(
    "Answer a text or a conversation, which may go on from an earlier answer.",
    takes: .object(
      ["model": .model, "input": .any(.string, OpenAI.messagesSchema)],
      optional: OpenAI.samplingMembers + OpenAI.toolsMembers + [
        "instructions": .string, "max_output_tokens": OpenAI.maxTokensSchema,
        "text": .object([:], optional: ["format": OpenAI.textFormatSchema]), "previous_response_id": .string,
        "store": .boolean, "stream": .boolean, "truncation": .string("auto", "disabled"), "metadata": .object([:]),
      ]
    ).named("ResponseRequest"),
    gives: .object([
      "id": .string, "object": .string("response"), "created_at": .count, "model": .string,
      "status": .string("completed", "incomplete"), "error": .null,
      "incomplete_details": Schema.object(["reason": .string("max_output_tokens")]).orNull,
      "output": .list(
        .object([
          "id": .string, "type": .string("message"), "role": .string("assistant"),
          "status": .string("completed", "incomplete"),
          "content": .list(
            .object([
              "type": .string("output_text"), "text": .string, "annotations": .list(.anything),
              "logprobs": .list(.anything),
            ])),
        ])),
      "tools": .list(.anything), "tool_choice": .string,
      "usage": .object(["input_tokens": .count, "output_tokens": .count, "total_tokens": .count]),
    ]).named("ResponseAnswer"),
    streams: ResponseStream.contentType)

  static let models = Endpoint(
    "The models of this server, also in Anthropic's form.",
    gives: .object([
      "object": .string("list"), "data": .list(OpenAI.modelSchema), "has_more": .boolean,
      "first_id": Schema.string.orNull, "last_id": Schema.string.orNull,
    ]).named("ModelList"))

  static let model = Endpoint("One model.", gives: OpenAI.modelSchema)

  static let embeddings = Endpoint(
    "Vectors of texts, or of a conversation with pictures.",
    takes: .any(
      .object(["model": .model, "input": Embeddings.inputSchema], optional: encodingMembers),
      .object(["model": .model, "messages": OpenAI.messagesSchema], optional: encodingMembers)
    ).named("EmbeddingRequest"),
    gives: .object([
      "object": .string("list"), "model": .string,
      "data": .list(
        .object([
          "object": .string("embedding"), "index": .count, "embedding": .any(.list(.number), .string),
        ])),
      "usage": .object(["prompt_tokens": .count, "total_tokens": .count]),
    ]).named("EmbeddingAnswer"))

  private static let encodingMembers: Schema.Members = ["encoding_format": .string("float", "base64")]
}

extension Embeddings {
  /// Of a request for vectors, also in Ollama's words.
  static let inputSchema = Schema.any(
    .text, OpenAI.tokensSchema, .list(.any(.text, OpenAI.tokensSchema), 1...2048)
  ).named("EmbeddingInput")
}
