import LimnTensor

/// The keys and values of finished sequences, kept for prompts with the same beginning (the next turn of a
/// conversation, another question about the same image), and the memory budget that they share with running sequences.
struct KVStore {
  private struct Entry {
    let cache: KVCache
    /// What each position of the cache holds.
    let keys: [PromptInputs.Key]
    let adapters: [Int]
  }

  /// The beginning of a prompt, found in a kept cache.
  enum Beginning {
    /// A cache that consists mostly of this beginning, to be continued.
    case own(KVCache)
    /// The cache of a longer conversation that shares the beginning: its first positions are copied, and it stays as it
    /// is.
    case shared(KVCache, positions: Int)
  }

  /// In the order in which they were kept, the latest last.
  private var entries: [Entry] = []
  /// Bytes that kept caches and those of running sequences may take together.
  let budget: Int
  /// Limits the number of caches, because even a short one takes memory: at least one page per head.
  private static let maxEntries = 16

  init(budget: Int) { self.budget = budget }

  /// How many positions two prompts share. At least one is left to compute, because its logits are needed.
  static func shared(_ keys: [PromptInputs.Key], with prompt: [PromptInputs.Key]) -> Int {
    min(zip(keys, prompt).prefix { $0 == $1 }.count, prompt.count - 1)
  }

  /// The longest beginning of a prompt found in a kept cache, if it has at least two positions.
  /// - Parameter capacity: how many positions a cache needs room for to be continued.
  mutating func beginning(of prompt: [PromptInputs.Key], adapters: [Int], capacity: Int) -> Beginning? {
    var best: (index: Int, shared: Int, isOwn: Bool)?
    for (index, entry) in entries.enumerated() where entry.adapters == adapters {
      let shared = Self.shared(entry.keys, with: prompt)
      let isOwn = shared * 4 >= entry.keys.count && entry.cache.capacity >= capacity
      guard shared > 1, isOwn || shared >= Self.worthCopying else { continue }
      if (shared, isOwn ? 1 : 0) >= (best?.shared ?? 0, best?.isOwn == true ? 1 : 0) { best = (index, shared, isOwn) }
    }
    guard let best else { return nil }
    guard best.isOwn else { return .shared(entries[best.index].cache, positions: best.shared) }
    let cache = entries.remove(at: best.index).cache
    cache.count = best.shared
    return .own(cache)
  }

  /// Fewer positions than this are faster to compute than to copy.
  static let worthCopying = 32

  /// Keeps a cache, and drops the oldest ones that exceed the limits.
  /// - Parameter live: bytes taken by running sequences.
  mutating func keep(_ cache: KVCache, _ keys: [PromptInputs.Key], adapters: [Int], live: Int) {
    guard budget > 0 else { return }
    entries.append(Entry(cache: cache, keys: Array(keys.prefix(cache.count)), adapters: adapters))
    makeRoom(for: live, sparing: 1)
  }

  /// Drops the oldest caches until `bytes` fit beside the rest.
  /// - Parameter sparing: how many of the latest stay, whatever they take.
  mutating func makeRoom(for bytes: Int, sparing: Int = 0) {
    var kept = entries.reduce(0) { $0 + $1.cache.usedBytes }
    while entries.count > sparing, kept + bytes > budget || entries.count > Self.maxEntries {
      kept -= entries.removeFirst().cache.usedBytes
    }
  }

  mutating func removeAll() { entries = [] }
}
