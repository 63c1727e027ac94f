import Foundation
package import LimnFiles
package import LimnCore

/// A checkpoint's chat template. It turns messages into the prompt that the model was trained on, the same text as
/// transformers' `apply_chat_template`.
package struct ChatTemplate: Sendable {
  package let source: String
  /// The template's name in error messages: its file, or its key.
  package let name: String
  private let statements: [Statement]

  /// Parses a template.
  /// - Throws: bad data with the line, if the template is malformed or uses something that no chat template has.
  package init(source: String, name: String) throws(LimnError) {
    self.source = source
    self.name = name
    do {
      statements = try Parser.parse(source)
    } catch {
      var error = error
      error.place = [name, error.place].compactMap(\.self).joined(separator: ", ")
      throw error
    }
  }

  /// Renders the prompt for a conversation.
  /// - Parameters:
  ///   - messages: an array of `{"role", "content", …}`. The template receives them unchanged, but without members
  ///     that are null, as in transformers.
  ///   - specialTokens: `bos_token`, `eos_token`, …; any other is undefined in the template.
  ///   - extra: further variables, such as `enable_thinking`; `tools` and `documents` are none unless given.
  /// - Throws: bad data with the template's line, if the template refuses the conversation or fails.
  package func render(
    messages: JSON, addGenerationPrompt: Bool, specialTokens: [String: String], extra: JSONObject = [:]
  ) throws(LimnError) -> String {
    guard let conversation = messages.array else {
      throw .badData("messages that are no list", expected: "an array of messages", found: messages.kind)
    }
    guard !conversation.isEmpty else { throw .badData("a conversation without messages") }
    var kept: [JSON] = []
    for message in conversation {
      guard let object = message.object else {
        throw .badData(
          "a message that is no object", expected: "{\"role\": …, \"content\": …}", found: message.kind)
      }
      var present = JSONObject()
      for member in object.members where !member.value.isNull { present.set(member.key, to: member.value) }
      kept.append(.object(present))
    }
    var variables: [String: Value] = [
      "messages": Value(.array(kept)), "tools": .none, "documents": .none,
      "add_generation_prompt": .bool(addGenerationPrompt),
    ]
    for (name, token) in specialTokens { variables[name] = .string(token) }
    for member in extra.members { variables[member.key] = Value(member.value) }
    return try Renderer.render(statements, variables: variables, name: name)
  }

  // MARK: Finding templates

  /// The checkpoint's own template; nil if it has none.
  ///
  /// In a folder, `processor_config.json` comes first, then `chat_template.json`, then `chat_template.jinja`, then
  /// `tokenizer_config.json`, as in transformers' processors. Of several templates, this takes the one called `default`.
  package static func find(in source: TokenizerSource) throws(LimnError) -> ChatTemplate? {
    switch source {
    case .gguf(let gguf):
      guard let text = gguf["tokenizer.chat_template"]?.string else { return nil }
      return try ChatTemplate(source: text, name: "tokenizer.chat_template")
    case .folder(let path): return try find(inFolder: path)
    }
  }

  private static func find(inFolder folder: String) throws(LimnError) -> ChatTemplate? {
    func path(_ name: String) -> String? {
      let path = folder + "/" + name
      return FileManager.default.fileExists(atPath: path) ? path : nil
    }
    func inJSON(_ name: String) throws(LimnError) -> ChatTemplate? {
      guard let path = path(name), let entry = try JSON.parse(file: path).present("chat_template") else { return nil }
      return try ChatTemplate(source: try defaultTemplate(entry, in: path), name: path)
    }
    func inJinja(_ name: String) throws(LimnError) -> ChatTemplate? {
      guard let path = path(name) else { return nil }
      let memory = try Memory(mapping: path)
      defer { withExtendedLifetime(memory) {} }
      guard let text = String(validating: memory.bytes, as: UTF8.self) else {
        throw .badData("a chat template that is not UTF-8", in: path)
      }
      return try ChatTemplate(source: text, name: path)
    }
    if let template = try inJSON("processor_config.json") { return template }
    if let template = try inJSON("chat_template.json") { return template }
    if let template = try inJinja("chat_template.jinja") { return template }
    if let template = try inJinja("additional_chat_templates/default.jinja") { return template }
    return try inJSON("tokenizer_config.json")
  }

  /// One template as a string, or several as `[{"name", "template"}]` or `{name: template}`.
  private static func defaultTemplate(_ entry: JSON, in path: String) throws(LimnError) -> String {
    let named = entry.array?.first { $0["name"]?.string == "default" }?["template"] ?? entry["default"]
    guard let text = (named ?? entry).string else {
      throw .badData(
        "no usable chat template", in: path, expected: "a string, or a list with the template \"default\"",
        found: entry.kind)
    }
    return text
  }

  // MARK: Images

  /// Whether the template itself writes a placeholder for an image among the parts of a message.
  ///
  /// This is found by trial, because a template's text does not reveal what it does. The template writes placeholders
  /// if a question with an image renders differently from the question alone, and the question appears in both
  /// prompts as text, not as a printed list. If this is false, pass `flattened` messages to the template.
  package func placesImages(specialTokens: [String: String]) -> Bool {
    let question = "limn asks what is in this picture"
    let text: JSON = .object(["type": .string("text"), "text": .string(question)])
    func prompt(_ parts: [JSON]) -> String? {
      let message: JSON = .object(["role": .string("user"), "content": .array(parts)])
      return try? render(messages: .array([message]), addGenerationPrompt: true, specialTokens: specialTokens)
    }
    guard let with = prompt([.object(["type": .string("image")]), text]), let without = prompt([text]) else {
      return false
    }
    let isPrinted = [with, without].contains { $0.contains("'type'") || $0.contains("\"type\"") }
    return !isPrinted && with.contains(question) && without.contains(question) && !with.same(as: without)
  }

  /// The placeholder for an image in prompt text, as LLaVA was trained.
  package static let imageMark = "<image>"

  /// The messages with strings as contents: their parts in order, each on its own lines, images as `<image>`.
  package static func flattened(_ messages: JSON) -> JSON {
    guard let conversation = messages.array else { return messages }
    return .array(
      conversation.map { message in
        guard var object = message.object, let parts = object["content"]?.array else { return message }
        let lines = parts.compactMap { part in
          switch part["type"]?.string {
          case "image", "image_url": imageMark
          case "text": part["text"]?.string
          default: nil
          }
        }
        object.set("content", to: .string(lines.joined(separator: "\n")))
        return .object(object)
      })
  }
}
