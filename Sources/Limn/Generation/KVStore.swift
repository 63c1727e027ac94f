import LimnTensor

/// The keys and values of ended sequences, for prompts that begin alike (the next turn of a conversation, another
/// question about the same image), and the one budget that they share with sequences under way.
struct KVStore {
  private struct Entry {
    let cache: KVCache
    /// What stands at the cache's positions.
    let keys: [PromptInputs.Key]
    let adapters: [Int]
  }

  /// A kept beginning of a prompt.
  enum Beginning {
    /// A cache that is mostly this prompt's own, to go on with.
    case own(KVCache)
    /// A longer conversation that begins like this prompt: some positions to copy, while it keeps its own.
    case shared(KVCache, positions: Int)
  }

  /// The latest one last.
  private var entries: [Entry] = []
  /// Bytes that kept caches and those under way may take together.
  let budget: Int
  /// Even caches of few positions take memory, a page for each head.
  private static let maxEntries = 16

  init(budget: Int) { self.budget = budget }

  /// How many positions two prompts share; one is always left to compute, because its logits are needed.
  static func shared(_ keys: [PromptInputs.Key], with prompt: [PromptInputs.Key]) -> Int {
    min(zip(keys, prompt).prefix { $0 == $1 }.count, prompt.count - 1)
  }

  /// The longest kept beginning of a prompt, of two positions at least.
  /// - Parameter capacity: positions that the cache must have room for, where it is taken as it is.
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

  /// Fewer positions are computed faster than a place for them is found.
  static let worthCopying = 32

  /// Keeps a cache, and lets the oldest ones go that are too many.
  /// - Parameter live: bytes that sequences under way take.
  mutating func keep(_ cache: KVCache, _ keys: [PromptInputs.Key], adapters: [Int], live: Int) {
    guard budget > 0 else { return }
    entries.append(Entry(cache: cache, keys: Array(keys.prefix(cache.count)), adapters: adapters))
    makeRoom(for: live, sparing: 1)
  }

  /// Lets the oldest caches go until `bytes` fit beside the rest.
  /// - Parameter sparing: how many of the latest stay, whatever they take.
  mutating func makeRoom(for bytes: Int, sparing: Int = 0) {
    var kept = entries.reduce(0) { $0 + $1.cache.usedBytes }
    while entries.count > sparing, kept + bytes > budget || entries.count > Self.maxEntries {
      kept -= entries.removeFirst().cache.usedBytes
    }
  }

  mutating func removeAll() { entries = [] }
}
