import Foundation
public import LimnCore
import LimnFiles
import LimnTensor
import LimnText

/// What about a model is missing, or does not fit together. Each function looks at one subject, and says nothing where it
/// is in order.
public struct ModelDoctor: Sendable {
  /// Something that is missing or does not fit.
  public struct Finding: Sendable {
    /// How much it matters.
    public enum Level: String, Sendable {
      /// Good to know; limn gets along with it.
      case note
      /// Answers may suffer.
      case warning
    }

    /// How much it matters.
    public let level: Level
    /// For machines: "chat_template".
    public let about: String
    /// A sentence without a full stop.
    public let what: String
    /// What to do about it, as an imperative.
    public let remedy: LimnError.Text
  }

  let parts: ModelParts
  let summary: ModelSummary

  /// Warnings first.
  var findings: [Finding] {
    let all =
      templateFindings + stopFindings
      + [imageToken, vocabularyRows, projectorWidth, chosenProjector, tunedTower, noTower] + tensorFindings
    return all.compactMap(\.self).sorted { $0.level == .warning && $1.level == .note }
  }
}

extension ModelDoctor {
  // MARK: Template and stop tokens

  private var templateFindings: [Finding?] {
    guard let conversation = parts.conversation, let tokenizer = parts.tokenizer else { return [] }
    if case .chosen(let evidence) = conversation.origin {
      let name = conversation.builtInName ?? ""
      return [
        Finding(
          level: evidence == .none ? .warning : .note, about: "chat_template",
          what: "the checkpoint carries no chat template; limn uses \(name), \(evidence.words)",
          remedy: "if answers are odd, name another with \(.template)")
      ]
    }
    guard case .checkpoint(let file, _) = conversation.origin else { return [] }
    let unknown = Self.specialNames(in: conversation.source).filter { tokenizer.id(of: $0) == nil }
    let (usual, evidence) = BuiltInTemplate.choose(
      architecture: nil, names: [], hasToken: { tokenizer.id(of: $0) != nil })
    if let first = unknown.first {
      return [
        Finding(
          level: .warning, about: "chat_template",
          what: "the chat template in \(file) writes \(first), which the tokenizer does not know as a token: "
            + "it may be another model's",
          remedy: "fetch \(file) again, or name a template with \(.template)")
      ]
    }
    if case .tokens(let tokens) = evidence, !tokens.contains(where: { conversation.source.contains($0) }) {
      return [
        Finding(
          level: .warning, about: "chat_template",
          what: "the chat template in \(file) is doubtful: it never writes \(tokens.joined(separator: " or ")), "
            + "which the vocabulary has",
          remedy: "if answers are odd, try \(.template, usual.name)")
      ]
    }
    return []
  }

  /// Names of special tokens of the form <|…|> in a template's text, in its order.
  private static func specialNames(in template: String) -> [String] {
    var names: [String] = []
    for part in template.components(separatedBy: "<|").dropFirst() {
      guard let end = part.range(of: "|>"), part[..<end.lowerBound].allSatisfy({ $0.isLetter || $0 == "_" }),
        end.lowerBound != part.startIndex
      else { continue }
      let name = "<|\(part[..<end.lowerBound])|>"
      if !names.contains(name) { names.append(name) }
    }
    return names
  }

  private var stopFindings: [Finding?] {
    guard let conversation = parts.conversation, let tokenizer = parts.tokenizer else { return [] }
    if parts.stopIDs.isEmpty, conversation.stops.isEmpty {
      return [
        Finding(
          level: .warning, about: "stop_token", what: "no stop token: nothing says what ends an answer",
          remedy: "name a text that does with \(.stop), or set \(parts.endOfGenerationPlace)")
      ]
    }
    let tail = try? conversation.answerEnd()
    let end = tail.flatMap { text in
      tokenizer.encode(text, addSpecial: false).first { tokenizer.specialIDs.contains($0) }
    }
    let own = parts.endIDs.union(tokenizer.eosID.map { [$0] } ?? [])
    guard let end, !own.contains(end) else { return [] }
    let named = own.isEmpty ? "none" : own.sorted().map(tokenizer.named).joined(separator: ", ")
    let what =
      "the chat template ends answers with \(tokenizer.named(end)), which is not among the checkpoint's stop "
      + "tokens (\(named))"
    if parts.stopIDs.contains(end) {
      return [
        Finding(
          level: .warning, about: "stop_token", what: what + "; limn stops at it by its name",
          remedy: "for other programs, add \(end) to \(parts.endOfGenerationPlace)")
      ]
    }
    return [
      Finding(
        level: .warning, about: "stop_token", what: what + ", so answers may not end",
        remedy: "add \(end) to \(parts.endOfGenerationPlace)")
    ]
  }

  // MARK: Tokens and rows

  private var imageToken: Finding? {
    guard let id = summary.images?.token?.id, let tokenizer = parts.tokenizer else { return nil }
    let name = tokenizer.piece(id)
    guard name == nil || !tokenizer.specialIDs.contains(id) else { return nil }
    let what =
      name.map { "token \(id), which the config gives to pictures, is \"\($0)\", an ordinary one" }
      ?? "the tokenizer has no image token: the config gives id \(id) to pictures"
    return Finding(
      level: .warning, about: "image_token",
      what: what + "; limn finds the places of pictures in the text instead",
      remedy: "fetch the tokenizer's files (tokenizer.json, added_tokens.json) again")
  }

  private var vocabularyRows: Finding? {
    guard let rows = summary.language?.vocabulary, let tokenizer = parts.tokenizer else { return nil }
    // The image token needs no row: a picture takes its place.
    let known = tokenizer.vocabularySize - (parts.config?.imageTokenID == tokenizer.vocabularySize - 1 ? 1 : 0)
    if known > rows {
      return Finding(
        level: .warning, about: "vocabulary",
        what: "the tokenizer knows \(known) tokens, but the model has rows for \(rows): the vocabulary is too "
          + "small, and text with the others is refused",
        remedy: "the tokenizer and the weights are of different models; fetch both again")
    }
    guard rows > tokenizer.vocabularySize else { return nil }
    return Finding(
      level: .note, about: "vocabulary",
      what: "\(rows - tokenizer.vocabularySize) rows of the vocabulary are filler: the tokenizer has no tokens "
        + "for them",
      remedy: "nothing needs to be done")
  }

  // MARK: Vision

  private func shape(_ name: String) -> [Int]? {
    let full = "multi_modal_projector." + name
    if let weight = parts.checkpoint?.weights[full] { return weight.shape.count == 2 ? weight.shape : nil }
    let tensor = parts.survey?.tensors.first { $0.modelName == full }?.tensor
    // Codes of bitsandbytes lie in another shape than the matrix.
    return tensor?.shape.count == 2 && tensor?.type != .u8 ? tensor?.shape : nil
  }

  private var projectorWidth: Finding? {
    guard let config = parts.config, let vision = config.vision else { return nil }
    func mismatch(_ what: String) -> Finding {
      Finding(
        level: .warning, about: "projector", what: what + ": it is another model's",
        remedy: parts.isFile
          ? "name the projector file that belongs to this model with \(.projector)"
          : "fetch the model's files again, its projector's among them")
    }
    let inputs = vision.hidden * config.featureLayers.count
    if let width = shape("linear_2.weight")?[0], width != config.language.hidden {
      return mismatch(
        "the projector makes embeddings of \(width) values, but the language model reads "
          + "\(config.language.hidden)")
    }
    if let width = shape("linear_1.weight")?[1], width != inputs {
      return mismatch("the projector reads features of \(width) values, but the vision tower makes \(inputs)")
    }
    return nil
  }

  private var chosenProjector: Finding? {
    guard let checkpoint = parts.checkpoint, !checkpoint.otherProjectors.isEmpty, let chosen = checkpoint.projectorFile
    else { return nil }
    let others = checkpoint.otherProjectors
    return Finding(
      level: .note, about: "projector",
      what: "\(others.count + 1) projector files beside the model fit it; limn takes \(chosen), whose name is nearest, "
        + "and not \(others.prefix(3).joined(separator: ", "))\(others.count > 3 ? ", …" : "")",
      remedy: "name another one with \(.projector)")
  }

  private var tunedTower: Finding? {
    guard let survey = parts.survey, survey.tunesTower, !survey.tensors.isEmpty, !survey.holdsTower else { return nil }
    let used =
      parts.checkpoint == nil ? "" : "; limn uses the stock \(survey.tower ?? "tower"), which sees differently"
    return Finding(
      level: .warning, about: "vision_tower",
      what: "the config says that the vision tower was fine-tuned (unfreeze_mm_vision_tower), but the checkpoint "
        + "has none inside" + used,
      remedy: "fetch all weight files of the checkpoint, or one that carries its tower")
  }

  private var noTower: Finding? {
    guard let checkpoint = parts.checkpoint, checkpoint.config.vision == nil else { return nil }
    return Finding(
      level: .note, about: "vision_tower", what: "there is no vision tower, so the model reads text only",
      remedy: parts.isFile
        ? "put the projector file (mmproj-….gguf) beside the model, or name it with \(.projector)"
        : "name a LLaVA checkpoint to ask about pictures")
  }

  // MARK: Tensors

  private var tensorFindings: [Finding?] {
    guard let checkpoint = parts.checkpoint else { return [] }
    func list(_ names: [String]) -> String {
      "\(names.prefix(3).joined(separator: ", "))\(names.count > 3 ? ", …" : "")"
    }
    var findings: [Finding?] = []
    if !checkpoint.unused.isEmpty {
      let names = checkpoint.unused.sorted()
      findings.append(
        Finding(
          level: .note, about: "tensors",
          what: "\(names.count) tensor\(names.count == 1 ? " is" : "s are") unused, because nothing in the model has "
            + "that name: \(list(names))",
          remedy: "see them with `limn debug tensors --model \(parts.location.model)`"))
    }
    // The tower's blocks after the last one that is read, and the head of tied embeddings, are never asked for.
    let unread = (parts.model?.unread ?? []).filter { !$0.hasPrefix("vision_tower.") && !$0.hasPrefix("lm_head.") }
    if !unread.isEmpty {
      findings.append(
        Finding(
          level: .warning, about: "tensors",
          what: "\(unread.count) tensor\(unread.count == 1 ? " is" : "s are") left over by the config: \(list(unread))",
          remedy: "the config and the weights are of different models; fetch both again"))
    }
    return findings
  }
}

extension Tokenizer {
  /// "<|end|> (32007)", or the id alone.
  fileprivate func named(_ id: Int) -> String { ModelSummary.Token(id: id, text: piece(id)).description }
}
