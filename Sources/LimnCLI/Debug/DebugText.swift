import ArgumentParser
import Foundation
import LimnFiles
import LimnCore
import LimnText

struct DebugTokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Turn text into token ids, as a JSON array. Reads no weights.")

  @OptionGroup var load: LoadArguments

  @Flag(help: "Leave out BOS and EOS.")
  var noSpecial = false

  @Argument(help: "The text; put -- before one that begins with -.")
  var text: String

  func run() throws {
    let tokenizer = try Tokenizer(TokenizerSource.open(load.location))
    let ids = tokenizer.encode(text, addSpecial: !noSpecial)
    Terminal.print(JSON.array(ids.map(JSON.integer)).serialised())
  }
}

struct DebugDetokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detokenize", abstract: "Turn token ids into text, special tokens included. Reads no weights.")

  @OptionGroup var load: LoadArguments

  @Argument(help: ArgumentHelp("Ids, separated by commas.", valueName: "1,2,3"))
  var ids: String

  func run() throws {
    let tokenizer = try Tokenizer(TokenizerSource.open(load.location))
    let ids = try tokenIDs(ids)
    for id in ids where !(0..<tokenizer.vocabularySize).contains(id) {
      throw LimnError(
        .usage, "token id \(id) is not in the vocabulary", expected: "0…\(tokenizer.vocabularySize - 1)")
    }
    Terminal.write(tokenizer.decode(ids))
  }
}

struct DebugTemplate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "template",
    abstract: "Render a conversation with the model's chat template. Reads no weights.")

  @OptionGroup var load: LoadArguments

  @Option(help: ArgumentHelp("A JSON array of {\"role\", \"content\"}.", valueName: "file.json"))
  var messages: String

  func run() throws {
    let source = try TokenizerSource.open(load.location)
    guard load.template == "auto" else {
      let template = try BuiltInTemplate.named(load.template)
      return Terminal.write(try template.render(messages: try JSON.parse(file: messages), addGenerationPrompt: true))
    }
    guard let template = try ChatTemplate.find(in: source) else {
      throw LimnError.badData(
        "the model carries no chat template", in: try load.reference,
        remedy: "`limn show` says which built-in template is used instead")
    }
    let messages = try JSON.parse(file: messages)
    let tokens = try Tokenizer(source).specialTokens
    Terminal.write(try template.render(messages: messages, addGenerationPrompt: true, specialTokens: tokens))
  }
}

/// "1,2,-200" → [1, 2, −200]
func tokenIDs(_ text: String) throws(LimnError) -> [Int] {
  var ids: [Int] = []
  for part in text.split(separator: ",") {
    guard let id = Int(part.trimmingCharacters(in: .whitespaces)) else {
      throw LimnError(.usage, "\"\(part)\" is not a token id", expected: "whole numbers, separated by commas")
    }
    ids.append(id)
  }
  return ids
}
