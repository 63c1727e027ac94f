import LimnCore
import LimnTensor

/// The token table and the output head. Configs say whether they are one, and how many rows they have; but files hold
/// what they hold, and that counts.
extension CanonicalWeights {
  static let tokenTable = "language_model.embed_tokens.weight"
  static let outputHead = "lm_head.weight"

  /// Where the config says that the two are one and only one of them is stored, under either name, makes it both. Of
  /// two stored ones each is itself, whatever the config says.
  ///
  /// This precedes adapters, which were trained on two tables: one that changes either of them leaves the other alone.
  mutating func tieTables(_ config: LanguageConfig) {
    guard config.tiedEmbeddings else { return }
    let (table, head) = (weights[Self.tokenTable], weights[Self.outputHead])
    if head == nil { alias(Self.tokenTable, as: Self.outputHead) }
    if table == nil { alias(Self.outputHead, as: Self.tokenTable) }
  }

  /// Corrects the config by the tensors, after adapters. Where head and table are still one, only the table remains.
  mutating func settle(_ config: inout LanguageConfig) {
    let (table, head) = (weights[Self.tokenTable], weights[Self.outputHead])
    config.tiedEmbeddings = head == nil ? config.tiedEmbeddings : table.map { $0.isSame(as: head!) } ?? false
    if head != nil, config.tiedEmbeddings { remove(Self.outputHead) }
    // Training scripts add tokens without recording it in the config.
    if let shape = table?.shape, shape.count == 2 { config.vocabulary = shape[0] }
  }
}

extension Weight {
  /// Whether two weights are the same bytes of a file, with nothing added to either.
  fileprivate func isSame(as other: Weight) -> Bool {
    let (mine, others) = (parts, other.parts)
    return updates.isEmpty && other.updates.isEmpty && shape == other.shape && mine.count == others.count
      && zip(mine, others).allSatisfy { $0.memory === $1.memory && $0.range == $1.range && $0.type == $1.type }
  }
}
