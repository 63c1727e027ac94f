import LimnTensor

/// Keys and values of earlier prompts and their answers, for prompts that begin alike: the next turn of a
/// conversation, or another question about the same picture.
struct PrefixCache {
  private struct Entry {
    let cache: KVCache
    /// What stands at the cache's positions.
    let keys: [PromptInputs.Key]

    func shared(with prompt: [PromptInputs.Key]) -> Int {
      zip(keys, prompt).prefix { $0 == $1 }.count
    }
  }

  /// The latest one last.
  private var entries: [Entry] = []
  /// Bytes that all of them together may take; the latest one stays whatever it takes.
  private let limit: Int
  /// Also caches of few positions take memory, a page for each head.
  private static let maxEntries = 16

  init(limit: Int) { self.limit = limit }

  /// Hands out the cache which holds the longest beginning of a prompt, moved back to where they differ; nil
  /// where none is large enough. Caches that hold mostly other things are kept for their own next turn. One
  /// position is always left to compute, because its logits are needed.
  mutating func take(for prompt: [PromptInputs.Key], capacity: Int) -> KVCache? {
    var best: (index: Int, shared: Int)?
    for (index, entry) in entries.enumerated() where entry.cache.capacity >= capacity {
      let shared = min(entry.shared(with: prompt), prompt.count - 1)
      if shared >= best?.shared ?? 1, shared * 4 >= entry.keys.count { best = (index, shared) }
    }
    guard let best else { return nil }
    let cache = entries.remove(at: best.index).cache
    cache.count = best.shared
    return cache
  }

  /// Keeps a cache, and lets the oldest ones go that are too many.
  mutating func keep(_ cache: KVCache, _ keys: [PromptInputs.Key]) {
    guard limit > 0 else { return }
    entries.append(Entry(cache: cache, keys: Array(keys.prefix(cache.count))))
    var bytes = entries.reduce(0) { $0 + $1.cache.usedBytes }
    while entries.count > 1, bytes > limit || entries.count > Self.maxEntries {
      bytes -= entries.removeFirst().cache.usedBytes
    }
  }

  mutating func removeAll() { entries = [] }
}
