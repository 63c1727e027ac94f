import LimnCore

// What the requests and answers of OpenAI's endpoints are made of. Other APIs share some of it.
extension OpenAI {
  static let errorSchema = Schema.object([
    "error": .object([
      "message": .string, "type": .string, "param": Schema.string.orNull, "code": Schema.string.orNull,
    ])
  ])

  // MARK: Requests

  private static let most = Int(Int32.max)

  /// −1: as long as the context allows.
  static let maxTokensSchema = Schema.any(.integer(1...most), .integer(-1 ... -1))
  static let stopsSchema = Schema.any(.string, .list(.string, 0...16))

  static let samplingMembers: Schema.Members = [
    "temperature": .number(0...2), "top_p": .number(0...1), "top_k": .integer(-1...most), "min_p": .number(0...1),
    "repeat_penalty": .number(0.01...100), "presence_penalty": .number(-2...2), "frequency_penalty": .number(-2...2),
    "seed": .integer, "stop": stopsSchema, "logit_bias": .map(.number(-100...100), names: "^[0-9]{1,18}$"),
    "ignore_eos": .boolean, "cache_prompt": .boolean,
  ]

  static let streamMembers: Schema.Members = [
    "stream": .boolean, "stream_options": .object([:], optional: ["include_usage": .boolean]),
  ]

  static let choicesMembers: Schema.Members = ["n": .integer(1...128)]

  static let toolsMembers: Schema.Members = ["tools": .list(.object([:])), "tool_choice": .string("none", "auto")]

  private static let schemaMembers: Schema.Members = ["schema": .jsonSchema]
  private static let schemaNames: Schema.Members = ["name": .string, "strict": .boolean]

  /// In `/v1/chat/completions`.
  static let formatSchema = Schema.any(
    .object(["type": .string("text", "json_object")]),
    .object(["type": .string("json_schema"), "json_schema": .object(schemaMembers, optional: schemaNames)])
  ).named("ResponseFormat")

  /// In `/v1/responses`, where the schema's members lie beside the type.
  static let textFormatSchema = Schema.any(
    .object(["type": .string("text", "json_object")]),
    .object(["type": .string("json_schema")] + schemaMembers, optional: schemaNames)
  ).named("TextFormat")

  /// A picture in the request itself.
  static let inlinePictureSchema = Schema.string.described(
    "A picture: a data: URL, or base64.", examples: [.string(examplePicture)]
  ).named("InlinePicture")

  static let pictureSchema = Schema.string.described(
    "A picture: a data: URL, base64, or an http(s) URL.", examples: [.string(examplePicture)]
  ).named("Picture")

  private static let examplePicture =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNwaDgAAAKEAYEml6crAAAAAElFTkSuQmCC"

  private static let textPart = Schema.object(
    ["type": .string("text", "input_text", "output_text", "refusal")], optional: ["text": .string, "refusal": .string])

  private static let picturePart = Schema.object([
    "type": .string("image_url", "input_image"),
    "image_url": .any(
      pictureSchema,
      .object(["url": pictureSchema], optional: ["detail": .string("auto", "low", "high", "original")])),
  ])

  private static let content = Schema.any(.string, .list(.any(textPart, picturePart)))

  static let messageSchema = Schema.any(
    .object(["role": .string("user", "tool", "function"), "content": content]),
    .object(["role": .string("system", "developer"), "content": .any(.string, .list(textPart))]),
    .object(["role": .string("assistant")], optional: ["content": content])
  ).named("ChatMessage")

  static let messagesSchema = Schema.list(messageSchema, 1 ... .max)

  static let tokenSchema = Schema.integer(0...most)
  static let tokensSchema = Schema.list(tokenSchema, 1 ... .max)

  // MARK: Answers

  static let finishSchema = Schema.string("stop", "length")

  static let usageSchema = Schema.object([
    "prompt_tokens": .count, "completion_tokens": .count, "total_tokens": .count,
    "prompt_tokens_details": .object(["cached_tokens": .count]),
  ]).named("Usage")

  static let timingsSchema = Schema.object([
    "cache_n": .integer, "prompt_n": .count, "prompt_ms": .number, "prompt_per_token_ms": .number,
    "prompt_per_second": .number, "predicted_n": .count, "predicted_ms": .number, "predicted_per_token_ms": .number,
    "predicted_per_second": .number, "image_ms": .number,
  ]).named("Timings")

  private static let tokenMembers: Schema.Members = [
    "token": .string, "logprob": .number(-9999...0), "bytes": .list(.integer(0...255)),
  ]

  /// The older form.
  static let completionLogprobsSchema = Schema.object([
    "tokens": .list(.string), "token_logprobs": .list(.number), "top_logprobs": .list(.object([:])),
    "text_offset": .list(.count),
  ])

  static let logprobsSchema = Schema.object([
    "content": .list(.object(tokenMembers + ["top_logprobs": .list(.object(tokenMembers))]))
  ]).named("Logprobs")

  static let modelSchema = Schema.object([
    "id": .string, "object": .string("model"), "created": .count, "owned_by": .string, "type": .string("model"),
    "display_name": .string, "created_at": .string,
    "meta": .object(["n_ctx": .count, "n_params": .count, "size": .count]),
  ]).named("ModelDescription")
}
