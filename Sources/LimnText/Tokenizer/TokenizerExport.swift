package import LimnFiles
package import LimnCore

/// A tokenizer broken down into the contents of GGUF files and tokenizer.json.
///
/// Supports the two kinds of the LLaVA family: SentencePiece's BPE, and byte-level BPE with one of the
/// well-known ways to split words. Anything else is refused, because it would become a different tokenizer.
package struct TokenizerExport {
  enum Kind: Equatable {
    case sentencePiece(prefixesSpace: Bool)
    /// How words are split, by the name in `tokenizer.ggml.pre`.
    case byteLevel(pre: String)
  }

  let tokenizer: Tokenizer
  let kind: Kind
  /// By id, one for each row of the model's embedding table; ids without a piece are called `[PAD7]`.
  let pieces: [String]
  let types: [GGUFTokenType]
  /// What the format cannot express, worded for the user.
  package let notes: [String]

  /// - Parameter rows: of the embedding table. Tokens beyond it are left out, because they have no embedding.
  /// - Throws: bad data for a tokenizer of another kind, or one that puts such a token around every text.
  package init(_ tokenizer: Tokenizer, rows: Int, place: String) throws(LimnError) {
    self.tokenizer = tokenizer
    kind = try Self.kind(of: tokenizer, place)
    if let id = (tokenizer.prefix + tokenizer.suffix).first(where: { $0 >= rows }) {
      throw LimnError.badData(
        "the tokenizer puts a token around texts that the model has no embedding for", in: place,
        expected: "an id below \(rows)", found: "\(id)",
        remedy: "the tokenizer and the weights are of different models; fetch both again")
    }
    var pieces: [String] = []
    var types: [GGUFTokenType] = []
    for id in 0..<rows {
      let piece = tokenizer.piece(id)
      pieces.append(piece ?? "[PAD\(id)]")
      types.append(piece == nil ? .unused : Self.type(of: id, in: tokenizer, kind))
    }
    self.pieces = pieces
    self.types = types
    let strips = tokenizer.addedTokens.values.contains { $0.stripsRight }
    let isPhi3 = ["<unk>", "<s>", "<|endoftext|>"].allSatisfy { tokenizer.id(of: $0) != nil }
    isNamedPhi3 = strips && isPhi3
    notes =
      strips && !isPhi3
      ? ["GGUF cannot say that tokens strip the whitespace after them: prompts may tokenise differently"] : []
  }

  /// Whether tokens strip whitespace as Phi-3's do, which GGUF can express only through the model's name.
  private let isNamedPhi3: Bool

  /// The model's name in GGUF. Readers assume Phi-3's tokenizer for every name with phi-3 in it, and fail if
  /// it is another.
  package func ggufName(_ name: String) -> String {
    let says = name.lowercased().contains("phi-3") || name.lowercased().contains("phi3")
    if isNamedPhi3 { return says ? name : name + " (phi-3)" }
    guard says else { return name }
    return name.replacing(/(?i)phi-?3/, with: "phi_3")
  }

  /// The text of a token that has a row in the model.
  func embeddedPiece(_ id: Int?) -> String? {
    id.flatMap { $0 < pieces.count ? tokenizer.piece($0) : nil }
  }

  private static func type(of id: Int, in tokenizer: Tokenizer, _ kind: Kind) -> GGUFTokenType {
    if case .gguf(let types, _) = tokenizer.pieceText, types.indices.contains(id) { return types[id] }
    if id == tokenizer.unknownID { return .unknown }
    if let added = tokenizer.addedTokens[id] { return added.isSpecial ? .control : .userDefined }
    if tokenizer.specialIDs.contains(id) { return .control }
    if case .sentencePiece = kind, let piece = tokenizer.vocabulary.piece(id), Decoder.byte(of: piece) != nil {
      return .byte
    }
    return .normal
  }

  // MARK: Which kind

  private static func kind(of tokenizer: Tokenizer, _ place: String) throws(LimnError) -> Kind {
    func refusal(_ what: String) -> LimnError {
      .badData(
        "this tokenizer cannot be converted", in: place,
        expected: "SentencePiece, or byte-level BPE that cuts words as GPT-2, Llama 3 or Qwen 2", found: what)
    }
    let isByteLevel = tokenizer.preTokenizers.contains { if case .byteLevel = $0 { true } else { false } }
    if isByteLevel {
      guard tokenizer.normalizers.allSatisfy({ if case .unicode(.nfc) = $0 { true } else { false } }),
        let pre = pre(tokenizer)
      else { throw refusal("byte-level BPE of another kind") }
      return .byteLevel(pre: pre)
    }
    var (prefixes, replaces) = (false, false)
    for normalizer in tokenizer.normalizers {
      switch normalizer {
      case .prepend(let text) where text == metaspace: prefixes = true
      case .replaceByte(0x20, let text) where text == metaspace: replaces = true
      case .sentencePiece(let rules) where rules.escapesSpaces:
        (prefixes, replaces) = (rules.addsDummyPrefix, true)
      default: throw refusal("another normalizer")
      }
    }
    for step in tokenizer.preTokenizers {
      guard case .metaspace(let text, let prefix, _) = step, text == metaspace else {
        throw refusal("another pre-tokenizer")
      }
      (prefixes, replaces) = (prefix != .never, true)
    }
    guard replaces else { throw refusal("BPE over plain characters") }
    return .sentencePiece(prefixesSpace: prefixes)
  }

  /// The GGUF name of the way a byte-level tokenizer splits words.
  private static func pre(_ tokenizer: Tokenizer) -> String? {
    var splitter: WordSplitter?
    for step in tokenizer.preTokenizers {
      switch step {
      case .split(.words(let words), .isolated, inverted: false) where splitter == nil: splitter = words
      case .byteLevel(addsPrefixSpace: false, let cutsWords):
        if cutsWords {
          guard splitter == nil else { return nil }
          splitter = .gpt2
        }
      default: return nil
      }
    }
    switch splitter {
    case .gpt2: return "gpt-2"
    case .llama3(digits: 3, _): return tokenizer.model.ignoresMerges ? "llama-bpe" : "smaug-bpe"
    case .llama3(digits: 1, _): return "qwen2"
    default: return nil
    }
  }

  // MARK: Merges and scores

  /// Pairs of pieces in merge order. Parts may have higher ids than their result: in Llama's vocabulary
  /// single characters come last.
  var merges: [(left: Int, right: Int)] {
    let rows = pieces.count
    switch tokenizer.model.order {
    case .merges(let table):
      return table.inOrder.filter { max($0.left, $0.right, $0.id) < rows }.map { ($0.left, $0.right) }
    case .scores(let scores):
      // Every way to compose a piece from two, for the pieces with the highest scores first.
      let vocabulary = tokenizer.vocabulary
      let made = pieces.indices.filter { types[$0] == .normal }
      let ordered = made.filter { $0 < scores.count }.sorted { (-scores[$0], $0) < (-scores[$1], $1) }
      var merges: [(left: Int, right: Int)] = []
      for id in ordered {
        let scalars = Array(pieces[id].unicodeScalars)
        var ways: [(left: Int, right: Int)] = []
        for cut in 1..<max(1, scalars.count) {
          var (left, right) = (String.UnicodeScalarView(), String.UnicodeScalarView())
          left.append(contentsOf: scalars[..<cut])
          right.append(contentsOf: scalars[cut...])
          if let left = vocabulary.id(of: String(left)), let right = vocabulary.id(of: String(right)),
            max(left, right) < rows
          {
            ways.append((left, right))
          }
        }
        merges += ways.sorted { $0 < $1 }
      }
      return merges
    }
  }

  /// The score of each piece; higher scores merge earlier.
  var scores: [Float] {
    switch tokenizer.model.order {
    case .scores(let scores): return pieces.indices.map { $0 < scores.count ? scores[$0] : Self.lowest }
    case .merges(let table):
      // Merges are derived from scores, so those of one piece are adjacent: its first rank is its place.
      var scores = [Float](repeating: Self.lowest, count: pieces.count)
      for (rank, merge) in table.inOrder.enumerated().reversed() where merge.id < scores.count {
        scores[merge.id] = -Float(rank)
      }
      return scores
    }
  }

  /// The score of pieces that no merge produces.
  private static let lowest: Float = -1e6

  // MARK: GGUF

  /// The keys `tokenizer.ggml.…`.
  package var ggufMetadata: [(key: String, value: GGUFMetadata)] {
    var metadata: [(key: String, value: GGUFMetadata)] = []
    switch kind {
    case .sentencePiece(let prefixesSpace):
      metadata += [
        ("model", .string("llama")), ("pre", .string("default")), ("tokens", .strings(pieces)),
        ("scores", .f32s(scores)), ("add_space_prefix", .bool(prefixesSpace)),
      ]
    case .byteLevel(let pre):
      metadata += [
        ("model", .string("gpt2")), ("pre", .string(pre)), ("tokens", .strings(pieces)),
        ("merges", .strings(merges.map { pieces[$0.left] + " " + pieces[$0.right] })),
      ]
    }
    metadata.append(("token_type", .i32s(types.map(\.rawValue))))
    for (role, id) in [
      ("bos", tokenizer.bosID), ("eos", tokenizer.eosID), ("unknown", tokenizer.unknownID),
      ("padding", tokenizer.padID),
    ] {
      if let id, id < pieces.count { metadata.append(("\(role)_token_id", .u32(id))) }
    }
    metadata += [
      ("add_bos_token", .bool(!tokenizer.prefix.isEmpty)), ("add_eos_token", .bool(!tokenizer.suffix.isEmpty)),
    ]
    return metadata.map { ("tokenizer.ggml.\($0.key)", $0.value) }
  }
}
