import LimnCore

extension LMStudio {
  static let errorSchema = Schema.object([
    "error": .object(["type": .string, "message": .string], optional: ["code": .string, "param": .string])
  ])

  fileprivate static let input = Schema.list(
    .any(
      .object(["type": .string("message", "text"), "content": .string]),
      .object(["type": .string("image"), "data_url": OpenAI.inlinePictureSchema])), 1 ... .max)
}

extension Endpoint {
  static let lmStudioChat = Endpoint(
    "Answer a text with pictures, which may go on from an earlier answer.",
    takes: .object(
      ["model": .model, "input": .any(.string, LMStudio.input)],
      optional: OpenAI.samplingMembers + [
        "system_prompt": .string, "max_output_tokens": OpenAI.maxTokensSchema, "previous_response_id": .string,
        "store": .boolean, "stream": .boolean, "integrations": .list(.anything, 0...0),
      ]
    ).named("LMStudioChatRequest"),
    gives: .object(
      [
        "model_instance_id": .string,
        "output": .list(.object(["type": .string("message"), "content": .string])),
        "stats": .object(
          [
            "input_tokens": .count, "total_output_tokens": .count, "reasoning_output_tokens": .count,
            "tokens_per_second": .number, "time_to_first_token_seconds": .number,
          ], optional: ["model_load_time_seconds": .number]),
      ], optional: ["response_id": .string]
    ).named("LMStudioChatAnswer"),
    streams: ChatStream.contentType)

  static let lmStudioModels = Endpoint(
    "The models of this server.",
    gives: .object([
      "models": .list(
        .object([
          "type": .string("llm"), "publisher": .string, "key": .string, "display_name": .string,
          "architecture": .string,
          "quantization": .object(["name": .string, "bits_per_weight": Schema.number.orNull]),
          "size_bytes": .count, "params_string": .string,
          "loaded_instances": .list(.object(["id": .string, "config": .object(["context_length": .count])])),
          "max_context_length": .count, "format": Schema.string("gguf").orNull,
          "capabilities": .object(["vision": .boolean, "trained_for_tool_use": .boolean]), "description": .null,
        ]).named("LMStudioModel"))
    ]))

  static let lmStudioGreeting = Endpoint(
    "Tells LM Studio's packages that they have found a server.", gives: .object(["lmstudio": .boolean]))

  static let lmStudioLoad = Endpoint(
    "Open a model.",
    takes: .object(["model": .model], optional: ["echo_load_config": .boolean]),
    gives: .object(
      [
        "type": .string("llm"), "instance_id": .string, "load_time_seconds": .number, "status": .string("loaded"),
      ], optional: ["load_config": .object(["context_length": .count, "parallel": .count])]))

  static let lmStudioUnload = Endpoint(
    "Close a model.", takes: .object(["instance_id": .model]), gives: .object(["instance_id": .string]))
}
