package import LimnCore
import LimnFiles

extension TokenizerExport {
  /// The tokenizer.json of Hugging Face's `tokenizers`.
  /// - Parameter imageToken: the id of `<image>`, which is added if it is missing.
  package func tokenizerJSON(imageToken: Int) -> JSON {
    var vocabulary = JSONObject()
    for (id, piece) in pieces.enumerated() where types[id] != .unused && tokenizer.vocabulary.piece(id) != nil {
      vocabulary.set(piece, to: .integer(id))
    }
    var added = tokenizer.addedTokens.values.filter { $0.id < pieces.count }.sorted { $0.id < $1.id }
    // Other tokens may strip whitespace, but after an image it is part of the prompt.
    added.removeAll { $0.id == imageToken }
    added.append(AddedToken(id: imageToken, content: Self.imageToken, isSpecial: true))
    added.sort { $0.id < $1.id }
    // `tokenizers` numbers added tokens consecutively and ignores their ids unless the vocabulary has them.
    for token in added where vocabulary[token.content] == nil {
      vocabulary.set(token.content, to: .integer(token.id))
    }
    var isByteLevel = false
    if case .byteLevel = kind { isByteLevel = true }
    let unknown = isByteLevel ? nil : embeddedPiece(tokenizer.unknownID)
    let model: JSONObject = [
      "type": .string("BPE"), "dropout": .null, "unk_token": unknown.map(JSON.string) ?? .null,
      "continuing_subword_prefix": .null, "end_of_word_suffix": .null, "fuse_unk": .bool(!isByteLevel),
      "byte_fallback": .bool(!isByteLevel), "ignore_merges": .bool(tokenizer.model.ignoresMerges),
      "vocab": .object(vocabulary),
      "merges": .array(merges.map { .array([.string(pieces[$0.left]), .string(pieces[$0.right])]) }),
    ]
    return .object([
      "version": .string("1.0"), "truncation": .null, "padding": .null,
      "added_tokens": .array(added.map(Self.json)), "normalizer": normalizer, "pre_tokenizer": preTokenizer,
      "post_processor": postProcessor, "decoder": decoder, "model": .object(model),
    ])
  }

  /// The accompanying tokenizer_config.json.
  package func configJSON(processor: String) -> JSON {
    var json: JSONObject = [
      "tokenizer_class": .string("PreTrainedTokenizerFast"), "clean_up_tokenization_spaces": .bool(false),
      "processor_class": .string(processor), "extra_special_tokens": .object(["image_token": .string(Self.imageToken)]),
    ]
    let (end, unknown) = (embeddedPiece(tokenizer.eosID), embeddedPiece(tokenizer.unknownID))
    // transformers adds tokens that are named here but missing from tokenizer.json.
    for (name, piece) in [
      ("bos_token", embeddedPiece(tokenizer.bosID)), ("eos_token", end), ("unk_token", unknown),
      ("pad_token", embeddedPiece(tokenizer.padID) ?? unknown ?? end),
    ] {
      if let piece { json.set(name, to: .string(piece)) }
    }
    return .object(json)
  }

  package static let imageToken = "<image>"

  private static func json(_ token: AddedToken) -> JSON {
    .object([
      "id": .integer(token.id), "content": .string(token.content), "single_word": .bool(token.singleWord),
      "lstrip": .bool(token.stripsLeft), "rstrip": .bool(token.stripsRight),
      "normalized": .bool(token.isNormalized), "special": .bool(token.isSpecial),
    ])
  }

  // MARK: Components

  private static func component(_ type: String, _ fields: JSONObject = [:]) -> JSON {
    var object: JSONObject = ["type": .string(type)]
    for (key, value) in fields.members { object.set(key, to: value) }
    return .object(object)
  }

  private static func replace(_ text: String, by content: String) -> JSON {
    component("Replace", ["pattern": .object(["String": .string(text)]), "content": .string(content)])
  }

  private var normalizer: JSON {
    guard case .sentencePiece(let prefixesSpace) = kind else { return .null }
    let prepend = prefixesSpace ? [Self.component("Prepend", ["prepend": .string("▁")])] : []
    return Self.component("Sequence", ["normalizers": .array(prepend + [Self.replace(" ", by: "▁")])])
  }

  private var preTokenizer: JSON {
    guard case .byteLevel(let pre) = kind else { return .null }
    func byteLevel(cutsWords: Bool) -> JSON {
      Self.component(
        "ByteLevel",
        ["add_prefix_space": .bool(false), "trim_offsets": .bool(true), "use_regex": .bool(cutsWords)])
    }
    if pre == "gpt-2" { return byteLevel(cutsWords: true) }
    let split = Self.component(
      "Split",
      [
        "pattern": .object(["Regex": .string(WordSplitter.llama3Pattern(digits: pre == "qwen2" ? 1 : 3))]),
        "behavior": .string("Isolated"), "invert": .bool(false),
      ])
    return Self.component("Sequence", ["pretokenizers": .array([split, byteLevel(cutsWords: false)])])
  }

  private var decoder: JSON {
    guard case .sentencePiece(let prefixesSpace) = kind else {
      return Self.component(
        "ByteLevel", ["add_prefix_space": .bool(true), "trim_offsets": .bool(true), "use_regex": .bool(true)])
    }
    var steps = [Self.replace("▁", by: " "), Self.component("ByteFallback"), Self.component("Fuse")]
    if prefixesSpace {
      steps.append(
        Self.component("Strip", ["content": .string(" "), "start": .integer(1), "stop": .integer(0)]))
    }
    return Self.component("Sequence", ["decoders": .array(steps)])
  }

  /// Puts BOS and EOS around the text if the tokenizer adds them.
  private var postProcessor: JSON {
    let around = tokenizer.prefix + tokenizer.suffix
    guard !around.isEmpty else { return .null }
    var tokens = JSONObject()
    func special(_ id: Int) -> JSON {
      .object(["SpecialToken": .object(["id": .string(pieces[id]), "type_id": .integer(0)])])
    }
    for id in around {
      tokens.set(
        pieces[id],
        to: .object([
          "id": .string(pieces[id]), "ids": .array([.integer(id)]), "tokens": .array([.string(pieces[id])]),
        ]))
    }
    func sequence(_ name: String, _ type: Int) -> JSON {
      .object(["Sequence": .object(["id": .string(name), "type_id": .integer(type)])])
    }
    let (before, behind) = (tokenizer.prefix.map(special), tokenizer.suffix.map(special))
    return Self.component(
      "TemplateProcessing",
      [
        "single": .array(before + [sequence("A", 0)] + behind),
        "pair": .array(before + [sequence("A", 0)] + behind + before + [sequence("B", 1)] + behind),
        "special_tokens": .object(tokens),
      ])
  }
}
