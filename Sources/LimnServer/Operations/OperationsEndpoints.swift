import LimnCore

extension Endpoint {
  private static let ok = Schema.object(["status": .string("ok")])

  static let health = Endpoint("Whether requests are taken.", gives: ok)
  static let ready = Endpoint("Whether a model can be opened; 503 if none can.", gives: ok)

  static let props = Endpoint(
    "What the first model is.",
    gives: .object([
      "default_generation_settings": .object(["n_ctx": .count]), "total_slots": .count, "model_path": .string,
      "chat_template": .string, "modalities": .object(["vision": .boolean, "audio": .boolean]), "build_info": .string,
    ]))

  static let slots = Endpoint(
    "The places for answers, and which are taken.",
    gives: .list(.object(["id": .count, "n_ctx": .count, "is_processing": .boolean])))

  static let tokenize = Endpoint(
    "The tokens of a text.",
    takes: .object(
      ["content": .string], optional: modelMembers + ["add_special": .boolean, "with_pieces": .boolean]),
    gives: .object([
      "tokens": .list(
        .any(.count, .object(["id": .count, "piece": .any(.string, .list(.integer(0...255)))])))
    ]))

  static let detokenize = Endpoint(
    "The text of tokens.",
    takes: .object(["tokens": .list(OpenAI.tokenSchema)], optional: modelMembers), gives: .object(["content": .string]))

  static let applyTemplate = Endpoint(
    "The prompt that a model's template makes of a conversation.",
    takes: .object(["messages": OpenAI.messagesSchema], optional: modelMembers),
    gives: .object(["prompt": .string]))

  private static let modelMembers: Schema.Members = ["model": .model]
}
