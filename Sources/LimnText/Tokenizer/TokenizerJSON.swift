import LimnFiles
import LimnCore

/// A `tokenizer.json`, the format of Hugging Face's `tokenizers`: its components, by name. Unknown components
/// are refused, because leaving one out would change the ids.
struct TokenizerJSON {
  private let json: JSON
  private let path: String

  init(_ json: JSON, path: String) throws(LimnError) {
    self.json = json
    self.path = path
  }

  /// - Parameter keepsIDs: whether added tokens have the ids that the small files give.
  func parts(in folder: TokenizerFolder, keepsIDs: Bool = false) throws(LimnError) -> Tokenizer.Parts {
    var parts = Tokenizer.Parts(model: try model())
    if let normalizer = json.present("normalizer") { parts.normalizers = try normalizers(normalizer) }
    if let preTokenizer = json.present("pre_tokenizer") {
      parts.preTokenizers = try preTokenizers(preTokenizer)
    }
    parts.decoderSteps = [.join]
    if let decoder = json.present("decoder") { parts.decoderSteps = try decoderSteps(decoder) }
    for token in json["added_tokens"]?.array ?? [] {
      guard var token = TokenizerFolder.token(token, id: nil) else {
        throw refusal("a broken entry of added_tokens")
      }
      if token.content.isEmpty { continue }
      // The library does not go by the ids that stand there.
      let known = parts.addedTokens.first { ExactString($0.content) == ExactString(token.content) }?.id
      token.id = known ?? parts.model.vocabulary.id(of: token.content) ?? parts.nextFreeID
      parts.addedTokens.append(token)
    }
    parts.add(folder, keepsIDs: keepsIDs)
    if let processor = json.present("post_processor") { try postProcess(processor, &parts) }
    return parts
  }

  private func refusal(_ what: String, expected: String? = nil, found: String? = nil) -> LimnError {
    .badData("\(what)", in: path, expected: expected, found: found)
  }

  private func unsupported(_ component: String, _ value: JSON) -> LimnError {
    .badData(
      "the \(component) \(value["type"]?.string ?? "without a type") is not supported", in: path,
      remedy: "use a model of the LLaVA family, whose tokenizers do not need it")
  }

  // MARK: The model

  private func model() throws(LimnError) -> BPE {
    guard let model = json["model"], let pieces = model["vocab"]?.object else {
      throw refusal("no vocabulary", expected: "model.vocab, an object")
    }
    // Old files have no type; only BPE has merges.
    guard let merges = model["merges"]?.array, (model["type"]?.string ?? "BPE") == "BPE" else {
      throw unsupported("model", model)
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"]
    where model.present(key)?.string ?? "" != "" {
      throw refusal("BPE with \(key) is not supported")
    }
    var vocabulary = Vocabulary(expected: pieces.count)
    for (piece, id) in pieces.members {
      guard let id = id.int, id >= 0 && id < Vocabulary.idLimit else {
        throw refusal("a piece without a usable id", expected: "0 to \(Vocabulary.idLimit - 1)", found: piece)
      }
      vocabulary.set(piece, id: id)
    }
    let table = try mergeTable(merges, vocabulary)
    let unknown = model.present("unk_token")?.string
    let unknownID = unknown.flatMap { vocabulary.id(of: $0) }
    if let unknown, unknownID == nil { throw refusal("unk_token is not in the vocabulary", found: unknown) }
    var bytePieces: [Int]?
    if model["byte_fallback"]?.bool == true {
      // `tokenizers` checks byte by byte, but vocabularies have all 256 or none.
      let ids = (0..<256).map { vocabulary.id(of: Self.bytePiece(UInt8($0))) }
      if ids.allSatisfy({ $0 != nil }) { bytePieces = ids.compactMap { $0 } }
    }
    return BPE(
      vocabulary: vocabulary, order: .merges(table),
      fallback: .character(
        bytePieces: bytePieces, unknown: unknownID, fuses: model["fuse_unk"]?.bool ?? false),
      ignoresMerges: model["ignore_merges"]?.bool ?? false)
  }

  /// `<0x0A>`
  static func bytePiece(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x" + (digits.count < 2 ? "0" : "") + digits + ">"
  }

  private func mergeTable(_ merges: [JSON], _ vocabulary: Vocabulary) throws(LimnError) -> MergeTable {
    var table = MergeTable(count: merges.count)
    var rank = 0
    for merge in merges {
      let left: String
      let right: String
      if let line = merge.string {
        if line.hasPrefix("#version") { continue }
        let words = line.utf8.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 2 else { throw refusal("a merge that is not two pieces", found: line) }
        (left, right) = (String(words[0])!, String(words[1])!)
      } else if let pair = merge.array, pair.count == 2, let first = pair[0].string,
        let second = pair[1].string
      {
        (left, right) = (first, second)
      } else {
        throw refusal("a merge that is not two pieces", found: merge.kind)
      }
      guard let leftID = vocabulary.id(of: left), let rightID = vocabulary.id(of: right),
        let id = vocabulary.id(of: left + right)
      else { throw refusal("a merge of pieces that are not in the vocabulary", found: left + " " + right) }
      table.add(left: leftID, right: rightID, rank: rank, id: id, keepsFirst: false)
      rank += 1
    }
    return table
  }

  // MARK: Normalizers

  /// The nesting limit of sequences.
  private static let depthLimit = 8

  /// The components of a sequence, or the single component.
  private func sequence(_ value: JSON, _ key: String, depth: Int = 0) throws(LimnError) -> [JSON] {
    guard value["type"]?.string == "Sequence" else { return [value] }
    guard let items = value[key]?.array, depth < Self.depthLimit else {
      throw refusal("a broken Sequence of \(key)")
    }
    var result: [JSON] = []
    for item in items { result += try sequence(item, key, depth: depth + 1) }
    return result
  }

  private func normalizers(_ value: JSON) throws(LimnError) -> [Normalizer] {
    var result: [Normalizer] = []
    for item in try sequence(value, "normalizers") {
      let type = item["type"]?.string ?? ""
      switch type {
      case "Prepend": result.append(.prepend(Array((item["prepend"]?.string ?? "").utf8)))
      case "Replace":
        let content = Array((item["content"]?.string ?? "").utf8)
        if let text = item["pattern"]?["String"]?.string, text.utf8.count == 1 {
          result.append(.replaceByte(text.utf8.first!, with: content))
        } else {
          result.append(.replace(try pattern(item), with: content))
        }
      case "NFC", "NFD", "NFKC", "NFKD": result.append(.unicode(Normalizer.UnicodeForm(rawValue: type)!))
      case "Lowercase": result.append(.lowercase)
      case "Strip":
        result.append(
          .strip(left: item["strip_left"]?.bool ?? true, right: item["strip_right"]?.bool ?? true))
      case "StripAccents": result.append(.stripAccents)
      case "ByteLevel": result.append(.byteLevel)
      default: throw unsupported("normalizer", item)
      }
    }
    return result
  }

  /// `{"String": "…"}` or `{"Regex": "…"}`
  private func pattern(_ item: JSON) throws(LimnError) -> Pattern {
    if let text = item["pattern"]?["String"]?.string { return Pattern(literal: text) }
    guard let regex = item["pattern"]?["Regex"]?.string else {
      throw refusal("a component without its pattern")
    }
    do {
      return try Pattern(regex)
    } catch {
      var error = error
      error.place = path
      throw error
    }
  }

  // MARK: Pre-tokenizers

  private func preTokenizers(_ value: JSON) throws(LimnError) -> [PreTokenizer] {
    var result: [PreTokenizer] = []
    for item in try sequence(value, "pretokenizers") {
      switch item["type"]?.string {
      case "ByteLevel":
        result.append(
          .byteLevel(
            addsPrefixSpace: item["add_prefix_space"]?.bool ?? true,
            cutsWords: item["use_regex"]?.bool ?? true))
      case "Split":
        let divider: PreTokenizer.Divider
        if let splitter = (item["pattern"]?["Regex"]?.string).flatMap(WordSplitter.init(pattern:)) {
          divider = .words(splitter)
        } else {
          divider = .pattern(try pattern(item))
        }
        result.append(.split(divider, try behavior(item), inverted: item["invert"]?.bool ?? false))
      case "Metaspace":
        let (replacement, prefix) = try metaspaceOptions(item)
        result.append(.metaspace(replacement: replacement, prefix, splits: item["split"]?.bool ?? true))
      case "Whitespace":
        let word = try Pattern(#"\w+|[^\w\s]+"#)
        result.append(.split(.pattern(word), .removed, inverted: true))
      case "WhitespaceSplit":
        result.append(
          .split(.characters { CharacterClass(of: $0).contains(.space) }, .removed, inverted: false))
      case "Digits":
        let isolates = item["individual_digits"]?.bool ?? false
        result.append(
          .split(
            .characters { CharacterClass(of: $0).contains(.number) }, isolates ? .isolated : .contiguous,
            inverted: false))
      case "Punctuation":
        let symbols = "$+<=>^`|~".unicodeScalars.map(\.value)
        result.append(
          .split(
            .characters { CharacterClass(of: $0).contains(.punctuation) || symbols.contains($0) },
            item.present("behavior") == nil ? .isolated : try behavior(item), inverted: false))
      default: throw unsupported("pre-tokenizer", item)
      }
    }
    return result
  }

  private func behavior(_ item: JSON) throws(LimnError) -> PreTokenizer.Behavior {
    guard let behavior = PreTokenizer.Behavior(rawValue: item["behavior"]?.string ?? "") else {
      throw refusal("a pre-tokenizer without a known behavior", found: item["behavior"]?.string)
    }
    return behavior
  }

  /// Older files have `add_prefix_space` instead of `prepend_scheme`.
  private func metaspaceOptions(_ item: JSON) throws(LimnError) -> ([UInt8], PreTokenizer.Prefix) {
    let replacement = item["replacement"]?.string ?? "▁"
    guard replacement.unicodeScalars.count == 1 else {
      throw refusal("Metaspace without a single replacement")
    }
    let scheme = item["prepend_scheme"]?.string ?? "always"
    guard let prefix = PreTokenizer.Prefix(rawValue: scheme) else {
      throw refusal("Metaspace with an unknown prepend_scheme", found: scheme)
    }
    let isOff = item["add_prefix_space"]?.bool == false
    return (Array(replacement.utf8), isOff ? .never : prefix)
  }

  // MARK: Decoder

  private func decoderSteps(_ value: JSON) throws(LimnError) -> [Decoder.Step] {
    var steps: [Decoder.Step] = []
    var isFused = false  // whether all tokens have been joined into one text
    for item in try sequence(value, "decoders") {
      switch item["type"]?.string {
      case "Replace":
        let text = item["pattern"]?["String"]?.string
        if isFused && text?.unicodeScalars.count != 1 {
          throw refusal("the decoder Replace after Fuse is not supported")
        }
        steps.append(.replace(try pattern(item), with: Array((item["content"]?.string ?? "").utf8)))
      case "ByteFallback": if !isFused { steps.append(.byteFallback) }
      case "Fuse": isFused = true
      case "ByteLevel":
        steps.append(.byteLevel)
        isFused = true
      case "Metaspace":
        if isFused { throw refusal("the decoder Metaspace after Fuse is not supported") }
        let (replacement, prefix) = try metaspaceOptions(item)
        steps.append(.metaspace(replacement: replacement, dropsFirst: prefix != .never))
      case "Strip":
        guard let character = item["content"]?.string, character.unicodeScalars.count == 1,
          let start = item["start"]?.int, let stop = item["stop"]?.int, (0...1000).contains(start),
          (0...1000).contains(stop)
        else { throw refusal("a broken decoder Strip") }
        steps.append(.strip(character: Array(character.utf8), start: start, stop: stop, wholeText: isFused))
      default: throw unsupported("decoder", item)
      }
    }
    return steps
  }

  // MARK: Post-processor

  /// Collects the ids that go before and after the text.
  private func postProcess(_ value: JSON, _ parts: inout Tokenizer.Parts) throws(LimnError) {
    for item in try sequence(value, "processors") {
      switch item["type"]?.string {
      case "ByteLevel": break  // It only adjusts offsets.
      case "TemplateProcessing":
        var ids: (before: [Int], behind: [Int]) = ([], [])
        var isBehind = false
        for piece in item["single"]?.array ?? [] {
          if piece["Sequence"] != nil {
            isBehind = true
            continue
          }
          guard let name = piece["SpecialToken"]?["id"]?.string,
            let tokens = item["special_tokens"]?[name]?["ids"]?.array
          else { throw refusal("a post-processor whose template is broken") }
          for token in tokens {
            guard let id = token.int, id >= 0 && id < Vocabulary.idLimit else {
              throw refusal("a post-processor that adds no usable id", found: name)
            }
            if isBehind { ids.behind.append(id) } else { ids.before.append(id) }
          }
        }
        parts.prefix = ids.before + parts.prefix
        parts.suffix += ids.behind
      case "BertProcessing", "RobertaProcessing":
        func id(_ key: String) throws(LimnError) -> Int {
          guard let id = item[key]?.array?.last?.int, id >= 0 && id < Vocabulary.idLimit else {
            throw refusal("a post-processor without its \(key)")
          }
          return id
        }
        parts.prefix = [try id("cls")] + parts.prefix
        parts.suffix.append(try id("sep"))
      default: throw unsupported("post-processor", item)
      }
    }
  }
}
