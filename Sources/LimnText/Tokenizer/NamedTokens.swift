import LimnCore

/// The special tokens that tokenizer_config.json and special_tokens_map.json name, in the order in which transformers
/// gives ids to those that no other file knows: the usual names in a fixed order, then other names as they are
/// written (objects before strings), then tokens without a name.
struct NamedTokens {
  /// A token may stand here several times, with different settings: the last ones count. Their ids do not.
  private(set) var tokens: [AddedToken] = []
  /// "bos_token" → "<s>" and so on.
  private(set) var texts: [String: String] = [:]

  private static let usual: [String] = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// - Parameter map: special_tokens_map.json, which goes before the config; nil where it does not count.
  init(config: JSONObject, map: JSONObject?) {
    var usual: [String: Entry] = [:]
    // What the config writes as a string goes before what the other file says of the same name.
    var (named, written) = (Names(), Names())
    for (object, isConfig) in [(config, true), (map ?? JSONObject(), false)] {
      for (name, value) in object.members where name.hasSuffix("_token") {
        guard let token = Entry(value) else { continue }
        if Self.usual.contains(name) {
          usual[name] = token
        } else if isConfig, token.isText {
          written.set(name, token)
        } else {
          named.set(name, token)
        }
      }
    }

    // The older key stands for the newer one where that is empty.
    let (extra, additional) = ("extra_special_tokens", "additional_special_tokens")
    let isEmpty = [JSON.null, .array([]), .object(JSONObject())].contains(config[extra] ?? .null)
    let isMoved = isEmpty && config[additional] != nil
    let first = isMoved ? config[additional] : config[extra]
    var unnamed: [Entry]? = first.flatMap { $0.object == nil ? [] : nil }
    unnamed? += first?.array?.compactMap(Entry.init) ?? []
    for value in [first, map?[extra]] {
      for (name, value) in value?.object?.members ?? [] {
        if let token = Entry(value) { written.set(name, token) }
      }
    }
    if let more = map?[extra]?.array?.compactMap(Entry.init) { unnamed = (unnamed ?? []) + more }
    let rest = map?[additional] ?? (isMoved ? nil : config[additional])
    let last = unnamed ?? rest?.array?.compactMap(Entry.init) ?? []

    for (name, token) in written.all { named.set(name, token) }
    let all = Self.usual.compactMap { name in usual[name].map { (name, $0) } } + named.all
    var known: Set<Entry> = []
    tokens = (all.map(\.1) + last).filter { known.insert($0).inserted }.map(\.token)
    for (name, token) in all { texts[name] = token.token.content }
  }

  /// A token's text, or an object that serialises it. The two are different tokens even where they mean the same.
  private struct Entry: Hashable {
    private let json: ExactString
    let isText: Bool
    let token: AddedToken

    init?(_ value: JSON) {
      guard var token = value.string.map({ AddedToken(id: 0, content: $0) }) ?? TokenizerFolder.token(value, id: 0),
        !token.content.isEmpty
      else { return nil }
      token.isSpecial = true
      if value["normalized"] == nil { token.isNormalized = false }
      self.token = token
      isText = value.string != nil
      json = ExactString(value.serialised())
    }

    static func == (a: Entry, b: Entry) -> Bool { a.json == b.json }
    func hash(into hasher: inout Hasher) { hasher.combine(json) }
  }

  /// Tokens by name, in the order in which the names first occur.
  private struct Names {
    private(set) var all: [(String, Entry)] = []

    mutating func set(_ name: String, _ token: Entry) {
      if let place = all.firstIndex(where: { $0.0 == name }) {
        all[place].1 = token
      } else {
        all.append((name, token))
      }
    }
  }
}
