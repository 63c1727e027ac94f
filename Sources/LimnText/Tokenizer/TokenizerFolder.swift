import Foundation
import LimnFiles
import LimnCore

/// A folder of tokenizer files in the layout of Hugging Face or the original LLaVA: the contents of its small
/// files (tokenizer_config.json, special_tokens_map.json, added_tokens.json), and which vocabulary it holds.
struct TokenizerFolder {
  let path: String
  let config: JSON
  let named: NamedTokens
  /// Tokens to add, with the ids that the files give.
  var addedTokens: [AddedToken] = []

  init(path: String) throws(LimnError) {
    self.path = path
    config = try Self.read("tokenizer_config.json", in: path) ?? .object(JSONObject())
    let members = config.object ?? JSONObject()
    if let decoder = config["added_tokens_decoder"]?.object {
      for (key, value) in decoder.members {
        guard let id = Int(key), let token = Self.token(value, id: id) else {
          throw .badData(
            "a broken entry of added_tokens_decoder", in: path + "/tokenizer_config.json", found: key)
        }
        addedTokens.append(token)
      }
      named = NamedTokens(config: members, map: nil)
    } else {
      // Older layouts spread this over two more files, which newer versions of transformers ignore when
      // `added_tokens_decoder` is present.
      named = NamedTokens(
        config: members, map: try Self.read("special_tokens_map.json", in: path)?.object ?? JSONObject())
      let names = Set(named.tokens.map { ExactString($0.content) })
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
  /// The id that the library `tokenizers` gives to a token that the vocabulary does not hold.
  var nextFreeID: Int { max(model.vocabulary.count, (addedTokens.map(\.id).max() ?? -1) + 1) }

  /// Adds the tokens that the small files name, as transformers does on top of tokenizer.json:
  /// `added_tokens_decoder` replaces the settings of known tokens, and unknown tokens get the next free ids.
  ///
  /// - Parameter keepsIDs: use the ids in the files (the SentencePiece layout) instead of the next free ones.
  mutating func add(_ folder: TokenizerFolder, keepsIDs: Bool) {
    func nextID() -> Int {
      keepsIDs ? max(model.vocabulary.idCount, (addedTokens.map(\.id).max() ?? -1) + 1) : nextFreeID
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
    let before = addedTokens.count
    for var token in folder.named.tokens {
      if let known = addedTokens.firstIndex(where: { ExactString($0.content) == ExactString(token.content) }) {
        addedTokens[known].isSpecial = true
        guard known >= before else { continue }
        // Of two names for a new token, the settings of the second one count.
        token.id = addedTokens[known].id
        addedTokens[known] = token
      } else {
        token.id = model.vocabulary.id(of: token.content) ?? nextID()
        addedTokens.append(token)
      }
    }
    specialTokens = folder.named.texts
    func id(_ name: String) -> Int? { specialTokens[name].flatMap(self.id) }
    (bosID, eosID, unknownID, padID) = (id("bos_token"), id("eos_token"), id("unk_token"), id("pad_token"))
  }
}
