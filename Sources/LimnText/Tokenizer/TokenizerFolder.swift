import Foundation
import LimnFiles
import LimnCore

/// A folder of tokenizer files in the layout of Hugging Face or the original LLaVA: the contents of its small
/// files (tokenizer_config.json, special_tokens_map.json, added_tokens.json), and which vocabulary it holds.
struct TokenizerFolder {
  let path: String
  let config: JSON
  /// "bos_token" → "<s>" and so on.
  let specialTokens: [String: String]
  /// Tokens to add, with the ids that the files give.
  var addedTokens: [AddedToken] = []
  /// Special tokens without a name of their own.
  var extraSpecialTokens: [String] = []

  init(path: String) throws(LimnError) {
    self.path = path
    config = try Self.read("tokenizer_config.json", in: path) ?? .object(JSONObject())
    var named = config.object ?? JSONObject()
    if let decoder = config["added_tokens_decoder"]?.object {
      for (key, value) in decoder.members {
        guard let id = Int(key), let token = Self.token(value, id: id) else {
          throw .badData(
            "a broken entry of added_tokens_decoder", in: path + "/tokenizer_config.json", found: key)
        }
        addedTokens.append(token)
      }
    } else {
      // Older layouts spread this over two more files, which newer versions of transformers ignore when
      // `added_tokens_decoder` is present.
      let map = try Self.read("special_tokens_map.json", in: path)?.object
      for (key, value) in map?.members ?? [] { named.set(key, to: value) }
      let names = Set(named.members.compactMap { Self.content($0.value).map(ExactString.init) })
      for (content, id) in try Self.read("added_tokens.json", in: path)?.object?.members ?? [] {
        guard let id = id.int, id >= 0 && id < Vocabulary.idLimit else {
          throw .badData("a token without a usable id", in: path + "/added_tokens.json", found: content)
        }
        let isSpecial = names.contains(ExactString(content))
        addedTokens.append(
          AddedToken(id: id, content: content, isSpecial: isSpecial, isNormalized: !isSpecial))
      }
    }
    addedTokens.sort { $0.id < $1.id }

    var specialTokens: [String: String] = [:]
    for (key, value) in named.members where key.hasSuffix("_token") {
      if let content = Self.content(value), !content.isEmpty { specialTokens[key] = content }
    }
    for key in ["additional_special_tokens", "extra_special_tokens"] {
      extraSpecialTokens += named[key]?.array?.compactMap(Self.content) ?? []
      for (name, value) in named[key]?.object?.members ?? [] { specialTokens[name] = Self.content(value) }
    }
    self.specialTokens = specialTokens
  }

  func parts() throws(LimnError) -> Tokenizer.Parts {
    if let json = try Self.read("tokenizer.json", in: path) {
      return try TokenizerJSON(json, path: path + "/tokenizer.json").parts(in: self)
    }
    let model = path + "/tokenizer.model"
    if FileManager.default.fileExists(atPath: model) {
      return try SentencePieceModel(path: model).parts(in: self)
    }
    if VocabularyFiles.names.allSatisfy({ FileManager.default.fileExists(atPath: path + "/" + $0) }) {
      let files = try VocabularyFiles(self)
      return try TokenizerJSON(files.json, path: path + "/vocab.json").parts(in: self, keepsIDs: true)
    }
    throw LimnError(
      .notFound, "no tokenizer", in: path,
      expected: "tokenizer.json, tokenizer.model, or vocab.json with merges.txt",
      remedy: "add the tokenizer files of the model to its folder")
  }

  private static func read(_ name: String, in path: String) throws(LimnError) -> JSON? {
    let file = path + "/" + name
    return FileManager.default.fileExists(atPath: file) ? try JSON.parse(file: file) : nil
  }

  /// A token's text: a string, or an object that serialises an `AddedToken`.
  private static func content(_ value: JSON) -> String? { value.string ?? value["content"]?.string }

  /// A serialised `AddedToken`.
  static func token(_ value: JSON, id: Int?) -> AddedToken? {
    guard let id = id ?? value["id"]?.int, id >= 0 && id < Vocabulary.idLimit,
      let content = value["content"]?.string
    else { return nil }
    let isSpecial = value["special"]?.bool ?? false
    return AddedToken(
      id: id, content: content, isSpecial: isSpecial, singleWord: value["single_word"]?.bool ?? false,
      stripsLeft: value["lstrip"]?.bool ?? false, stripsRight: value["rstrip"]?.bool ?? false,
      isNormalized: value["normalized"]?.bool ?? !isSpecial)
  }
}

extension Tokenizer.Parts {
  /// Adds the tokens that the small files name, as transformers does on top of tokenizer.json:
  /// `added_tokens_decoder` replaces the settings of known tokens, and unknown tokens get the next free ids.
  ///
  /// - Parameter keepsIDs: use the ids in the files (the SentencePiece layout) instead of the next free ones.
  mutating func add(_ folder: TokenizerFolder, keepsIDs: Bool) {
    func nextID() -> Int {
      max(model.vocabulary.idCount, (addedTokens.map(\.id).max() ?? -1) + 1)
    }
    let replacesKnown = folder.config["added_tokens_decoder"] != nil
    for token in folder.addedTokens where !token.content.isEmpty {
      var token = token
      let known = addedTokens.firstIndex { ExactString($0.content) == ExactString(token.content) }
      if let known {
        token.id = addedTokens[known].id
        if replacesKnown { addedTokens[known] = token }
      } else {
        if let id = model.vocabulary.id(of: token.content) {
          token.id = id
        } else if !keepsIDs {
          token.id = nextID()
        }
        addedTokens.append(token)
      }
    }
    let named = folder.specialTokens.keys.sorted().map { folder.specialTokens[$0]! }
    for content in named + folder.extraSpecialTokens where !content.isEmpty {
      if let known = addedTokens.firstIndex(where: { ExactString($0.content) == ExactString(content) }) {
        addedTokens[known].isSpecial = true
      } else {
        let id = model.vocabulary.id(of: content) ?? nextID()
        addedTokens.append(AddedToken(id: id, content: content, isSpecial: true))
      }
    }
    specialTokens = folder.specialTokens
    func id(_ name: String) -> Int? { specialTokens[name].flatMap(self.id) }
    (bosID, eosID, unknownID, padID) = (id("bos_token"), id("eos_token"), id("unk_token"), id("pad_token"))
  }
}
