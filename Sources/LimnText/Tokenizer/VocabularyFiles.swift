import LimnFiles
import LimnCore

/// GPT-2's byte-level BPE as its slow tokenizer saves it: vocab.json {"piece": id, …} and merges.txt, with a
/// pair of pieces on each line in order of rank. LLaVA-Phi's training script leaves only these two.
struct VocabularyFiles {
  /// The equivalent tokenizer.json.
  let json: JSON

  static let names = ["vocab.json", "merges.txt"]

  init(_ folder: TokenizerFolder) throws(LimnError) {
    let vocabulary = try JSON.parse(file: folder.path + "/vocab.json")
    let path = folder.path + "/merges.txt"
    let memory = try Memory(mapping: path)
    defer { withExtendedLifetime(memory) {} }
    guard let text = String(validating: memory.bytes, as: UTF8.self) else {
      throw .badData("the merges are not UTF-8", in: path)
    }
    guard folder.config["add_bos_token"]?.bool != true else {
      throw .badData(
        "add_bos_token is true, which limn does not read here", in: folder.path + "/tokenizer_config.json",
        remedy: "use the tokenizer.json of the same model")
    }
    let merges = text.utf8.split(separator: UInt8(ascii: "\n")).map { JSON.string(String(Substring($0))) }
    json = .object([
      "model": .object(["type": .string("BPE"), "vocab": vocabulary, "merges": .array(merges)]),
      "pre_tokenizer": .object([
        "type": .string("ByteLevel"), "use_regex": .bool(true),
        "add_prefix_space": .bool(folder.config["add_prefix_space"]?.bool ?? false),
      ]),
      "decoder": .object(["type": .string("ByteLevel")]),
    ])
  }
}
