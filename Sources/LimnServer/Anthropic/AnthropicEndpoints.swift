import LimnCore

extension Anthropic {
  static let errorSchema = Schema.object([
    "type": .string("error"), "error": .object(["type": .string, "message": .string]),
  ])

  private static let textBlock = Schema.object(["type": .string("text"), "text": .string])

  private static let pictureBlock = Schema.object([
    "type": .string("image"),
    "source": .any(
      .object(["type": .string("base64"), "data": OpenAI.inlinePictureSchema], optional: ["media_type": .string]),
      .object(["type": .string("url"), "url": OpenAI.pictureSchema])),
  ])

  /// Of an answer and of the count of its tokens.
  fileprivate static let promptMembers: Schema.Members = [
    "model": .model,
    "messages": .list(
      .object([
        "role": .string("user", "assistant"), "content": .any(.string, .list(.any(textBlock, pictureBlock))),
      ]).named("AnthropicMessage"), 1 ... .max),
  ]

  fileprivate static let systemMembers: Schema.Members = ["system": .any(.string, .list(textBlock))]

  fileprivate static let format = Schema.object(["type": .string("json_schema"), "schema": .jsonSchema])

  fileprivate static let most = Int(Int32.max)
}

extension Endpoint {
  static let messages = Endpoint(
    "Answer the last message of a conversation.",
    takes: .object(
      Anthropic.promptMembers + ["max_tokens": .integer(1...Anthropic.most)],
      optional: Anthropic.systemMembers + [
        "temperature": .number(0...2), "top_p": .number(0...1), "top_k": .integer(-1...Anthropic.most),
        "seed": .integer, "ignore_eos": .boolean, "stop_sequences": OpenAI.stopsSchema, "stream": .boolean,
        "tools": .list(.object([:])), "tool_choice": .object(["type": .string("auto", "none")]),
        "thinking": .object([:], optional: ["type": .string("disabled", "adaptive")]),
        "output_config": .object([:], optional: ["format": Anthropic.format]),
        "output_format": Anthropic.format,
      ]
    ).named("MessageRequest"),
    gives: .object([
      "id": .string, "type": .string("message"), "role": .string("assistant"), "model": .string,
      "content": .list(.object(["type": .string("text"), "text": .string])),
      "stop_reason": .string("end_turn", "max_tokens", "stop_sequence"), "stop_sequence": Schema.string.orNull,
      "usage": .object([
        "input_tokens": .count, "output_tokens": .count, "cache_creation_input_tokens": .count,
        "cache_read_input_tokens": .count,
      ]),
    ]).named("MessageAnswer"),
    streams: ChatStream.contentType)

  static let countTokens = Endpoint(
    "How many tokens a conversation takes.",
    takes: .object(Anthropic.promptMembers, optional: Anthropic.systemMembers),
    gives: .object(["input_tokens": .count]))
}
