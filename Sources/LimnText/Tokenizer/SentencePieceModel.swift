import LimnFiles
import LimnCore

/// A SentencePiece `tokenizer.model`: a protobuf message of which a few fields matter.
///
/// ```
/// ModelProto      1: pieces (repeated SentencePiece)  2: TrainerSpec  3: NormalizerSpec
/// SentencePiece   1: piece (string)  2: score (float)  3: type
/// TrainerSpec     3: model_type  35: byte_fallback  24: treat_whitespace_as_suffix
/// NormalizerSpec  2: precompiled_charsmap  3: add_dummy_prefix  4: remove_extra_whitespaces
///                 5: escape_whitespaces
/// ```
struct SentencePieceModel {
  private enum PieceType: Int {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  private let path: String
  /// Their texts are UTF-8 by rule, but a vocabulary may have been cut from other encodings.
  private var pieces: [(text: [UInt8], score: Float, type: PieceType)] = []
  private var modelType = 1
  private var fallsBackToBytes = false
  private var normalizer = SentencePieceNormalizer(removesExtraSpaces: true)

  init(path: String) throws(LimnError) {
    self.path = path
    let file = try Memory(mapping: path)
    defer { withExtendedLifetime(file) {} }
    var message = ProtobufReader(file.bytes, path: path)
    while let field = try message.next() {
      switch field {
      case (1, .bytes(let bytes)): try readPiece(bytes)
      case (2, .bytes(let bytes)): try readTrainer(bytes)
      case (3, .bytes(let bytes)): try readNormalizer(bytes)
      default: break
      }
    }
    guard !pieces.isEmpty else {
      throw .badData("not a SentencePiece model", in: path, expected: "pieces", found: "none")
    }
    guard modelType == 2 else {
      let names = [1: "unigram", 3: "word", 4: "char"]
      throw .badData(
        "a kind of SentencePiece model that is not supported", in: path, expected: "BPE",
        found: names[modelType] ?? "model type \(modelType)")
    }
  }

  private mutating func readPiece(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    var message = ProtobufReader(bytes, path: path)
    var (text, score, type) = ([UInt8](), 0 as Float, PieceType.normal)
    while let field = try message.next() {
      switch field {
      case (1, .bytes(let bytes)): text = Array(bytes)
      case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
      case (3, .varint(let value)):
        guard let known = Int(exactly: value).flatMap(PieceType.init) else {
          throw .badData("a piece of an unknown type", in: path, found: "\(value)")
        }
        type = known
      default: break
      }
    }
    guard type != .unused else {
      throw .badData("pieces that are marked unused are not supported", in: path, found: Self.string(text))
    }
    guard pieces.count < Vocabulary.idLimit else { throw .badData("too many pieces", in: path) }
    pieces.append((text, score, type))
  }

  private static func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  private mutating func readTrainer(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    var message = ProtobufReader(bytes, path: path)
    while let field = try message.next() {
      switch field {
      case (3, .varint(let value)): modelType = Int(truncatingIfNeeded: value)
      case (24, .varint(let value)) where value != 0:
        throw .badData("a SentencePiece model that writes spaces after words is not supported", in: path)
      case (35, .varint(let value)): fallsBackToBytes = value != 0
      default: break
      }
    }
  }

  private mutating func readNormalizer(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    var message = ProtobufReader(bytes, path: path)
    while let field = try message.next() {
      switch field {
      case (2, .bytes(let map)) where !map.isEmpty:
        throw .badData(
          "a SentencePiece model with a character map is not supported", in: path, expected: "the identity",
          remedy: "use the tokenizer.json of the same model")
      case (3, .varint(let value)): normalizer.addsDummyPrefix = value != 0
      case (4, .varint(let value)): normalizer.removesExtraSpaces = value != 0
      case (5, .varint(let value)): normalizer.escapesSpaces = value != 0
      default: break
      }
    }
  }

  // MARK: The tokenizer

  /// The parts of a tokenizer that works as transformers' Python `LlamaTokenizer`: special tokens are cut
  /// out, and each piece of text between them goes through SentencePiece separately.
  func parts(in folder: TokenizerFolder) throws(LimnError) -> Tokenizer.Parts {
    var vocabulary = Vocabulary(expected: pieces.count)
    var userDefined = ByteTrie()
    var bytes = [Int?](repeating: nil, count: 256)
    for (id, (text, _, type)) in pieces.enumerated() {
      // Only these can result from merges.
      text.withUnsafeBufferPointer {
        vocabulary.set($0, id: id, isFound: type == .normal || type == .userDefined)
      }
      if type == .userDefined { userDefined.insert(text, value: id) }
      if type == .byte, fallsBackToBytes, let byte = Decoder.byte(of: text[...]) {
        bytes[Int(byte)] = id
      }
    }
    let unknown = pieces.firstIndex { $0.type == .unknown }
    var normalizer = normalizer
    normalizer.prefixesOnlyFirst = folder.config["legacy"]?.bool == false
    var parts = Tokenizer.Parts(
      model: BPE(
        vocabulary: vocabulary, order: .scores(pieces.map(\.score)),
        fallback: .bytes(pieces: bytes, unknown: unknown), userDefined: userDefined))
    parts.normalizers = [.sentencePiece(normalizer)]
    for (id, piece) in pieces.enumerated() where piece.type == .control || piece.type == .unknown {
      parts.addedTokens.append(AddedToken(id: id, content: Self.string(piece.text), isSpecial: true))
    }
    parts.decoderSteps = [.replace(Pattern(literal: "▁"), with: [0x20]), .byteFallback]
    if normalizer.addsDummyPrefix {
      parts.decoderSteps.append(.strip(character: [0x20], start: 1, stop: 0, wholeText: true))
    }
    parts.add(folder, keepsIDs: true)
    for index in parts.addedTokens.indices { parts.addedTokens[index].isNormalized = false }
    parts.unknownID = parts.unknownID ?? unknown
    parts.bosID = parts.bosID ?? parts.id(of: "<s>")
    parts.eosID = parts.eosID ?? parts.id(of: "</s>")
    for (name, id) in [
      ("bos_token", parts.bosID), ("eos_token", parts.eosID), ("unk_token", parts.unknownID),
    ] {
      if parts.specialTokens[name] == nil, let id, pieces.indices.contains(id) {
        parts.specialTokens[name] = Self.string(pieces[id].text)
      }
    }
    if folder.config["add_bos_token"]?.bool ?? true, let bos = parts.bosID { parts.prefix = [bos] }
    if folder.config["add_eos_token"]?.bool ?? false, let eos = parts.eosID { parts.suffix = [eos] }
    return parts
  }
}

/// Reads the fields of a protobuf message.
struct ProtobufReader {
  enum Value {
    case varint(UInt64)
    case fixed64(UInt64)
    case fixed32(UInt32)
    case bytes(UnsafeRawBufferPointer)
  }

  private let bytes: UnsafeRawBufferPointer
  private let path: String
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// The next field and its number; nil at the end.
  mutating func next() throws(LimnError) -> (field: UInt64, Value)? {
    guard position < bytes.count else { return nil }
    let key = try varint()
    switch key & 7 {
    case 0: return (key >> 3, .varint(try varint()))
    case 1: return (key >> 3, .fixed64(try fixed(UInt64.self)))
    case 2:
      let count = try varint()
      guard count <= UInt64(bytes.count - position) else { throw cut() }
      defer { position += Int(count) }
      return (key >> 3, .bytes(UnsafeRawBufferPointer(rebasing: bytes[position..<position + Int(count)])))
    case 5: return (key >> 3, .fixed32(try fixed(UInt32.self)))
    default: throw .badData("not a SentencePiece model: a broken protobuf message", in: path)
    }
  }

  private mutating func varint() throws(LimnError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0 as UInt64, to: 64, by: 7) {
      guard position < bytes.count else { throw cut() }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw .badData("not a SentencePiece model: an unterminated number", in: path)
  }

  private mutating func fixed<T: FixedWidthInteger>(_: T.Type) throws(LimnError) -> T {
    let size = T.bitWidth / 8
    guard bytes.count - position >= size else { throw cut() }
    defer { position += size }
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
  }

  private func cut() -> LimnError { .badData("a SentencePiece model that ends too early", in: path) }
}
