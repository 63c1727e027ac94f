import LimnFiles
import LimnCore

/// The token types of a GGUF file, with the format's numbers.
enum GGUFTokenType: Int, Sendable {
  case undefined, normal, unknown, control, userDefined, unused, byte
}

/// The vocabulary of a GGUF file. The file says little about how to split text: most of what follows is
/// llama.cpp's knowledge about each kind of model.
struct GGUFVocabulary {
  private let file: GGUF
  private let kind: Kind
  /// Pieces that are empty in the file get llama.cpp's names for them.
  private let vocabulary: Vocabulary
  private let emptyIDs: Set<Int>
  private var types: [GGUFTokenType]

  /// `tokenizer.ggml.model`
  private enum Kind: String {
    case sentencePiece = "llama"
    case byteLevel = "gpt2"
  }

  init(_ file: GGUF) throws(LimnError) {
    self.file = file
    guard let model = file["tokenizer.ggml.model"]?.string else {
      throw .badData("no tokenizer in the file", in: file.path, expected: "tokenizer.ggml.model")
    }
    guard let kind = Kind(rawValue: model) else {
      throw .badData(
        "a kind of tokenizer that is not supported", in: file.path,
        expected: "tokenizer.ggml.model llama or gpt2",
        found: model)
    }
    self.kind = kind
    guard let pieces = file["tokenizer.ggml.tokens"], pieces.type == .string, let count = pieces.arrayCount,
      count > 0, count <= Vocabulary.idLimit
    else { throw .badData("no vocabulary in the file", in: file.path, expected: "tokenizer.ggml.tokens") }
    var vocabulary = Vocabulary(expected: count)
    var emptyIDs: Set<Int> = []
    pieces.visitTexts { id, piece in
      if piece.isEmpty {
        emptyIDs.insert(id)
        vocabulary.set("[EMPTY_\(id)]", id: id)
      } else {
        vocabulary.set(piece, id: id)
      }
    }
    self.vocabulary = vocabulary
    self.emptyIDs = emptyIDs
    types = Array(repeating: .normal, count: count)
    if let numbers = file["tokenizer.ggml.token_type"] {
      guard let numbers = numbers.ints, numbers.count >= count else {
        throw .badData(
          "tokenizer.ggml.token_type is too short", in: file.path, expected: "\(count) integers")
      }
      for id in types.indices { types[id] = GGUFTokenType(rawValue: numbers[id]) ?? .undefined }
    }
  }

  /// The piece as stored in the file.
  private func piece(_ id: Int) -> String {
    emptyIDs.contains(id) ? "" : vocabulary.piece(id).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  func parts() throws(LimnError) -> Tokenizer.Parts {
    let types = typesWithEnds()
    var parts: Tokenizer.Parts
    switch kind {
    case .sentencePiece: parts = try sentencePiece()
    case .byteLevel: parts = try byteLevel()
    }
    parts.precedence = .longest
    parts.pieceText = .gguf(types: types, isByteLevel: kind == .byteLevel)
    addTokens(types, to: &parts)
    nameTokens(&parts)
    return parts
  }

  /// Tokens that end an answer count as control tokens even if the file does not mark them, as in llama.cpp.
  private func typesWithEnds() -> [GGUFTokenType] {
    var types = types
    for name in Tokenizer.endOfGenerationNames {
      if let id = vocabulary.id(of: name) { types[id] = .control }
    }
    return types
  }

  /// Control, user-defined and unknown tokens are matched in the text. Files of Phi-3 models do not say that
  /// these tokens strip the whitespace after them: the model's name decides.
  private func addTokens(_ types: [GGUFTokenType], to parts: inout Tokenizer.Parts) {
    let name = (file["general.name"]?.string ?? "").lowercased()
    let isPhi3 = name.contains("phi-3") || name.contains("phi3")
    for id in types.indices where [.control, .userDefined, .unknown].contains(types[id]) {
      let piece = piece(id)
      let strips = isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(piece)
      parts.addedTokens.append(
        AddedToken(id: id, content: piece, isSpecial: types[id] != .userDefined, stripsRight: strips))
      if Tokenizer.endOfGenerationNames.contains(piece) { parts.endOfGenerationIDs.insert(id) }
    }
  }

  /// The tokens with a role, and BOS and EOS if the tokenizer adds them.
  private func nameTokens(_ parts: inout Tokenizer.Parts) {
    func id(_ role: String, default fallback: Int? = nil) -> Int? {
      let ids = [file["tokenizer.ggml.\(role)_token_id"]?.int, fallback]
      return ids.lazy.compactMap { $0 }.first { types.indices.contains($0) }
    }
    let isSentencePiece = kind == .sentencePiece
    parts.bosID = id("bos", default: isSentencePiece ? 1 : nil)
    parts.eosID = id("eos", default: isSentencePiece ? 2 : nil)
    parts.unknownID = id("unknown", default: isSentencePiece ? 0 : nil)
    parts.padID = id("padding")
    for role in ["eot", "eom"] {
      if let id = id(role) { parts.endOfGenerationIDs.insert(id) }
    }
    let roles = [
      ("bos_token", parts.bosID), ("eos_token", parts.eosID), ("unk_token", parts.unknownID),
      ("pad_token", parts.padID),
    ]
    for (name, id) in roles { parts.specialTokens[name] = id.map(piece) }
    let addsBOS =
      file["tokenizer.ggml.add_bos_token"]?.bool ?? (isSentencePiece || preset?.addsBOS == true)
    if addsBOS, let bos = parts.bosID { parts.prefix = [bos] }
    if file["tokenizer.ggml.add_eos_token"]?.bool == true, let eos = parts.eosID { parts.suffix = [eos] }
  }

  // MARK: SentencePiece

  private func sentencePiece() throws(LimnError) -> Tokenizer.Parts {
    var scores = [Float](repeating: 0, count: types.count)
    if let stored = file["tokenizer.ggml.scores"] {
      guard let values = stored.floats ?? stored.ints?.map(Float.init), values.count >= types.count else {
        throw .badData(
          "tokenizer.ggml.scores is too short", in: file.path, expected: "\(types.count) numbers")
      }
      scores = values
    }
    // A byte without a byte piece may still be an ordinary character of the vocabulary.
    let bytes = (0..<256).map { byte in
      vocabulary.id(of: TokenizerJSON.bytePiece(UInt8(byte)))
        ?? (byte < 128 ? vocabulary.id(of: String(Unicode.Scalar(UInt8(byte)))) : nil)
    }
    let unknown = file["tokenizer.ggml.unknown_token_id"]?.int ?? 0
    var parts = Tokenizer.Parts(
      model: BPE(
        vocabulary: vocabulary, order: .scores(scores),
        fallback: .bytes(pieces: bytes, unknown: types.indices.contains(unknown) ? unknown : nil)))
    // The space precedes every piece of text between special tokens.
    if file["tokenizer.ggml.add_space_prefix"]?.bool ?? true {
      parts.normalizers = [.prepend(metaspace)]
      parts.decoderSteps = [.strip(character: [0x20], start: 1, stop: 0, wholeText: true)]
    }
    parts.normalizers.append(.replaceByte(0x20, with: metaspace))
    return parts
  }

  // MARK: Byte-level BPE

  /// The meaning of a `tokenizer.ggml.pre`.
  private struct Preset {
    var dividers: [PreTokenizer.Divider]
    var ignoresMerges = false
    var addsBOS = false
  }

  private func byteLevel() throws(LimnError) -> Tokenizer.Parts {
    guard let preset else {
      throw .badData(
        "an unknown pre-tokenizer", in: file.path,
        found: "tokenizer.ggml.pre " + (file["tokenizer.ggml.pre"]?.string ?? ""),
        remedy: "convert the model again, or use one of the LLaVA family")
    }
    guard let lines = file["tokenizer.ggml.merges"], lines.type == .string, let count = lines.arrayCount
    else {
      throw .badData("no merges in the file", in: file.path, expected: "tokenizer.ggml.merges")
    }
    var table = MergeTable(count: count)
    var joined: [UInt8] = []
    lines.visitTexts { rank, line in
      // The first piece is never empty, and may itself be a space.
      guard let space = line.dropFirst().firstIndex(of: 0x20) else { return }
      let (left, right) = (Bytes(rebasing: line[..<space]), Bytes(rebasing: line[(space + 1)...]))
      // Merges from or into pieces that do not exist cannot lead to a token.
      guard let leftID = vocabulary.id(of: left), let rightID = vocabulary.id(of: right) else { return }
      joined.removeAll(keepingCapacity: true)
      joined.append(contentsOf: left)
      joined.append(contentsOf: right)
      guard let id = joined.withUnsafeBufferPointer(vocabulary.id(of:)) else { return }
      table.add(left: leftID, right: rightID, rank: rank, id: id, keepsFirst: true)
    }
    var parts = Tokenizer.Parts(
      model: BPE(
        vocabulary: vocabulary, order: .merges(table),
        fallback: .character(bytePieces: nil, unknown: nil, fuses: false), ignoresMerges: preset.ignoresMerges
      ))
    parts.preTokenizers = preset.dividers.map { .split($0, .isolated, inverted: false) }
    parts.preTokenizers.append(.byteLevel(addsPrefixSpace: false, cutsWords: false))
    return parts
  }

  /// nil for an unknown name.
  private var preset: Preset? {
    let digits = Pattern.known(#"\p{N}"#)
    let gpt2 = PreTokenizer.Divider.words(.gpt2)
    func llama3(digits: Int) -> PreTokenizer.Divider { .words(.llama3(digits: digits, longS: false)) }
    let isLlama3 =
      vocabulary.id(of: "<|begin_of_text|>") == 128_000 && vocabulary.id(of: "<|eot_id|>") == 128_009
    switch file["tokenizer.ggml.pre"]?.string ?? "" {
    // Files from before April 2024 do not name it.
    case "" where isLlama3, "default" where isLlama3, "llama3", "llama-v3", "llama-bpe", "falcon3",
      "falcon-h1",
      "pixtral", "midm-2.0", "lfm2", "jina-v5-nano":
      return Preset(dividers: [llama3(digits: 3)], ignoresMerges: true, addsBOS: true)
    case "dbrx", "smaug-bpe", "chatglm-bpe": return Preset(dividers: [llama3(digits: 3)])
    case "glm4": return Preset(dividers: [llama3(digits: 3)], ignoresMerges: true)
    case "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
      "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4":
      return Preset(dividers: [gpt2])
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open", "megrez":
      return Preset(dividers: [llama3(digits: 1)])
    case "qwen35":
      return Preset(
        dividers: [
          Pattern.known(
            #"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"#
              + #"|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#)
        ])
    case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2":
      return Preset(dividers: [digits, gpt2])
    case "falcon":
      return Preset(
        dividers: [Pattern.known(#"[\p{P}\$\+<=>\^~\|`]+"#), gpt2, Pattern.known("[0-9][0-9][0-9]")])
    case "tekken":
      return Preset(dividers: [Pattern.known(Self.tekken)], ignoresMerges: true, addsBOS: true)
    case "", "default":
      return Preset(
        dividers: [
          Pattern.known(#"[\p{P}\$\+<=>\^~\|]+"#), gpt2, Pattern.known(#"\p{N}+"#),
          Pattern.known("[0-9][0-9][0-9]"),
        ])
    default: return nil
    }
  }

  /// Mistral Nemo's pattern as llama.cpp writes it: ignores case for letters beyond ASCII.
  private static let tekken =
    #"[^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])*(?:(?=\p{L})[^A-Z])+"#
    + #"|[^\r\n\p{L}\p{N}]?(?:(?=\p{L})[^a-z])+(?:(?=\p{L})[^A-Z])*"#
    + #"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
}

extension Pattern {
  /// Compiles one of our own patterns, which are known to be valid.
  fileprivate static func known(_ source: String) -> PreTokenizer.Divider {
    .pattern(try! Pattern(source))
  }
}
