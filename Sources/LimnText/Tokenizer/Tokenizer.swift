package import LimnFiles
package import LimnCore

/// Converts text to token ids and back, exactly as the model's own tokenizer does.
///
/// All formats reduce to the same steps: added tokens are matched in the text; the text between them is
/// normalised, split into words and encoded by byte-pair encoding. A chain of decoder steps turns ids back
/// into text.
package struct Tokenizer: Sendable {
  /// The pieces of the model.
  var vocabulary: Vocabulary { model.vocabulary }
  let model: BPE
  /// By id. Some of them are also pieces of the model.
  let addedTokens: [Int: AddedToken]
  private let addedIDs: [ExactString: Int]
  /// The text that added tokens decode to: the normalised content for tokens matched in normalised text.
  private let addedTexts: [Int: [UInt8]]
  /// These match the added tokens in the original and in the normalised text.
  private let splitter: AddedTokenSplitter
  private let normalizedSplitter: AddedTokenSplitter
  /// Whether special tokens are looked for in the normalised text.
  private let normalizesSpecial: Bool
  let normalizers: [Normalizer]
  let preTokenizers: [PreTokenizer]
  /// The ids that `addSpecial` puts before and after the text.
  let prefix: [Int]
  let suffix: [Int]
  let pieceText: PieceText
  private let decoderSteps: [Decoder.Step]

  /// Ids that the files name; nil if they name none.
  package let bosID, eosID, unknownID, padID: Int?
  /// "bos_token" → "<s>" and so on, from tokenizer_config.json or by id from a GGUF: for chat templates.
  package let specialTokens: [String: String]
  /// Ids that `decode(…, skipSpecial: true)` leaves out.
  package let specialIDs: Set<Int>
  /// Ids that end an answer: those that the files name, and tokens with a well-known name, because files
  /// often forget them (Phi-3's `<|end|>`, Llama 3's `<|eot_id|>`).
  package let endOfGenerationIDs: Set<Int>
  /// One more than the highest id. The model's embedding table may have more rows.
  package let vocabularySize: Int

  package var bosToken: String? { bosID.flatMap(piece) }
  package var eosToken: String? { eosID.flatMap(piece) }

  /// How an id is written as text.
  enum PieceText: Sendable {
    /// As its piece.
    case piece
    /// As in llama.cpp: depends on the token's type and on whether pieces use GPT-2's byte characters.
    case gguf(types: [GGUFTokenType], isByteLevel: Bool)
  }

  /// What the readers of the formats collect.
  struct Parts {
    var model: BPE
    var addedTokens: [AddedToken] = []
    var precedence = AddedTokenSplitter.Precedence.leftmost
    var normalizers: [Normalizer] = []
    var preTokenizers: [PreTokenizer] = []
    var prefix: [Int] = []
    var suffix: [Int] = []
    var pieceText = PieceText.piece
    var decoderSteps: [Decoder.Step] = []
    var specialTokens: [String: String] = [:]
    /// In addition to the special ones among the added tokens.
    var specialIDs: Set<Int> = []
    var endOfGenerationIDs: Set<Int> = []
    var bosID, eosID, unknownID, padID: Int?

    /// The id of a token: an added token, else a piece of the model.
    func id(of token: String) -> Int? {
      addedTokens.last { ExactString($0.content) == ExactString(token) }?.id ?? model.vocabulary.id(of: token)
    }
  }

  /// Reads a tokenizer.
  /// - Throws: `notFound` without tokenizer files, bad data for broken files or an unknown kind.
  package init(_ source: TokenizerSource) throws(LimnError) {
    switch source {
    case .folder(let path): self.init(try TokenizerFolder(path: path).parts())
    case .gguf(let file): self.init(try GGUFVocabulary(file).parts())
    }
  }

  init(_ parts: Parts) {
    model = parts.model
    normalizers = parts.normalizers
    preTokenizers = parts.preTokenizers
    prefix = parts.prefix
    suffix = parts.suffix
    pieceText = parts.pieceText
    decoderSteps = parts.decoderSteps
    (bosID, eosID, unknownID, padID) = (parts.bosID, parts.eosID, parts.unknownID, parts.padID)
    specialTokens = parts.specialTokens

    var byID: [Int: AddedToken] = [:]
    var ids: [ExactString: Int] = [:]
    for token in parts.addedTokens {
      byID[token.id] = token
      ids[ExactString(token.content)] = token.id
    }
    addedTokens = byID
    addedIDs = ids
    vocabularySize = max(parts.model.vocabulary.idCount, (byID.keys.max() ?? -1) + 1)
    specialIDs = parts.specialIDs.union(byID.values.filter(\.isSpecial).map(\.id))
    var ends = parts.endOfGenerationIDs
    if let eosID { ends.insert(eosID) }
    for name in Self.endOfGenerationNames {
      // An added token with this name ends answers even if not marked special; a plain piece must be marked.
      if let id = ids[ExactString(name)] {
        ends.insert(id)
      } else if let id = parts.model.vocabulary.id(of: name), specialIDs.contains(id) {
        ends.insert(id)
      }
    }
    endOfGenerationIDs = ends

    let raw = parts.addedTokens.filter { !$0.isNormalized }
    splitter = AddedTokenSplitter(
      raw, words: raw.map { Array($0.content.utf8) }, precedence: parts.precedence)
    let normalized = parts.addedTokens.filter(\.isNormalized)
    normalizesSpecial = normalized.contains(where: \.isSpecial)
    let words = normalized.map { parts.normalizers(Array($0.content.utf8), isFirst: true).text }
    normalizedSplitter = AddedTokenSplitter(normalized, words: words, precedence: .leftmost)
    var texts: [Int: [UInt8]] = [:]
    for token in byID.values { texts[token.id] = Array(token.content.utf8) }
    for (token, word) in zip(normalized, words) { texts[token.id] = word }
    addedTexts = texts
  }

  static let endOfGenerationNames = [
    "<|end|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "</s>", "<|end_of_text|>", "<|eom_id|>",
    "<end_of_turn>",
  ]

  // MARK: Encoding

  /// The ids of a text. Recognises added tokens in it, including special ones.
  /// - Parameters:
  ///   - addSpecial: whether to add BOS and EOS, if the tokenizer adds them at all.
  ///   - literalMark: what `SpecialSpellings` wrote into spellings that are data; it is not part of the text.
  package func encode(_ text: String, addSpecial: Bool = true, literalMark: Unicode.Scalar? = nil) -> [Int] {
    var ids = addSpecial ? prefix : []
    var text = text
    let mark = LiteralMark(literalMark)
    text.withUTF8 { text in
      for segment in splitter.split(text).joined(in: text, mark) {
        if let id = segment.id {
          ids.append(id)
        } else {
          encode(Array(text[segment.range]), isFirst: segment.range.lowerBound == 0, mark, into: &ids)
        }
      }
    }
    if addSpecial { ids += suffix }
    return ids
  }

  /// Text between the added tokens that are found before it is normalised.
  private func encode(_ text: [UInt8], isFirst: Bool, _ mark: LiteralMark, into ids: inout [Int]) {
    let isMarked = mark.stands(in: text)
    let (normalized, isFirst) = normalizers(
      isMarked && !normalizesSpecial ? mark.removed(from: text) : text, isFirst: isFirst)
    normalized.withUnsafeBufferPointer { text in
      for segment in normalizedSplitter.split(text).joined(in: text, mark) {
        if let id = segment.id {
          ids.append(id)
          continue
        }
        let bytes = Array(text[segment.range])
        let start = PreTokenizedText(
          isMarked ? mark.removed(from: bytes) : bytes, isFirst: isFirst && segment.range.lowerBound == 0)
        let words = preTokenizers.reduce(start) { $1($0) }
        words.bytes.withUnsafeBufferPointer { bytes in
          for piece in words.pieces {
            let (word, start) = (Bytes(rebasing: bytes[piece]), ids.count)
            model.encode(word, into: &ids)
            if isMarked, ids[start...].contains(where: { spells($0, in: word) }) {
              ids.removeLast(ids.count - start)
              encodeCharacters(of: word, into: &ids)
            }
          }
        }
      }
    }
  }

  /// Whether an id is a special token that merges made of the characters of a word: vocabularies may hold its pieces.
  private func spells(_ id: Int, in word: Bytes) -> Bool {
    guard specialIDs.contains(id), id != model.unknownID, let piece = vocabulary.piece(id),
      piece.count > utf8Length(piece[piece.startIndex])
    else { return false }
    return (0...max(0, word.count - piece.count)).contains { word[$0...].starts(with: piece) }
  }

  private func encodeCharacters(of word: Bytes, into ids: inout [Int]) {
    var index = 0
    while index < word.count {
      let end = min(index + utf8Length(word[index]), word.count)
      model.encode(Bytes(rebasing: word[index..<end]), into: &ids)
      index = end
    }
  }

  // MARK: Decoding

  /// The text of the ids, as transformers' `decode(ids, skip_special_tokens: skipSpecial)` gives it: a
  /// SentencePiece tokenizer drops the space that it puts in front. Ids that do not exist are skipped.
  package func decode(_ ids: [Int], skipSpecial: Bool = false) -> String {
    var detokenizer = StreamingDetokenizer(self, skipSpecial: skipSpecial)
    var text = ""
    for id in ids { text += detokenizer.append(id) }
    return text + detokenizer.finish()
  }

  /// The piece of an id as the vocabulary has it ("▁Hello", "ĠHello", "<0x0A>"); nil for ids without one.
  package func piece(_ id: Int) -> String? {
    addedTokens[id]?.content ?? vocabulary.piece(id).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The id of a piece or of an added token.
  package func id(of piece: String) -> Int? {
    addedIDs[ExactString(piece)] ?? vocabulary.id(of: piece)
  }

  func decoder() -> Decoder { Decoder(decoderSteps) }

  /// The decoder's input for an id; nil for ids without a piece.
  func text(of id: Int) -> [UInt8]? {
    guard case .gguf(let types, let isByteLevel) = pieceText else {
      return addedTexts[id] ?? vocabulary.piece(id).map(Array.init)
    }
    guard let piece = vocabulary.piece(id) else { return nil }
    switch types[id] {
    case .normal where isByteLevel: return ByteLevel.decoded(Array(piece))
    case .normal: return Self.metaspacePattern.replacingMatches(in: Array(piece), with: [0x20])
    case .byte: return Decoder.byte(of: piece).map { [$0] } ?? Array(piece)
    case .control, .userDefined, .unknown: return Array(piece)
    case .unused, .undefined: return []
    }
  }

  /// The bytes that an id adds to a text; nil for ids that are no text, as special tokens are.
  package func bytes(of id: Int) -> [UInt8]? {
    if specialIDs.contains(id) || endOfGenerationIDs.contains(id) { return nil }
    return text(of: id).map { Decoder.bytes(of: $0, decoderSteps) }
  }

  private static let metaspacePattern = Pattern(literal: "▁")
}

/// Decodes tokens as they arrive, in constant time per token. It never returns part of a character, and its
/// outputs concatenate to `decode` of all the ids.
package struct StreamingDetokenizer: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  private var decoder: Decoder

  package init(_ tokenizer: Tokenizer, skipSpecial: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
    decoder = tokenizer.decoder()
  }

  /// Adds a token; returns the text that is now certain, often none when a character spans several tokens.
  package mutating func append(_ id: Int) -> String {
    if skipSpecial && tokenizer.specialIDs.contains(id) { return "" }
    return tokenizer.text(of: id).map { decoder.append($0) } ?? ""
  }

  /// The text left when no token follows.
  package mutating func finish() -> String { decoder.finish() }
}
