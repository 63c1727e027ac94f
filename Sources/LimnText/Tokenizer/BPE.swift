/// Byte-pair encoding: starts from single characters and repeatedly merges the best neighbouring pair, the
/// leftmost of equals, until no pair can be merged.
///
/// Pairs are kept in a heap and symbols in a linked list, so a text of n characters takes O(n log n) even
/// without spaces.
struct BPE: Sendable {
  /// What ranks one pair above another.
  enum Order: Sendable {
    /// A list of merges in order of priority: Hugging Face and byte-level GGUF.
    case merges(MergeTable)
    /// Two pieces merge if the vocabulary has the joined piece; higher scores first: SentencePiece.
    case scores([Float])
  }

  /// What a character outside the vocabulary becomes.
  enum Fallback: Sendable {
    /// As in `tokenizers`: byte pieces if the vocabulary has all of them, else the unknown token (a run of
    /// them fused into one if `fuses`), else nothing. The result takes part in merges.
    case character(bytePieces: [Int]?, unknown: Int?, fuses: Bool)
    /// As in SentencePiece: after the merges, byte pieces, else one unknown token for each run.
    case bytes(pieces: [Int?], unknown: Int?)
  }

  let vocabulary: Vocabulary
  let order: Order
  let fallback: Fallback
  /// The id of characters that are no pieces, where there is one.
  var unknownID: Int? {
    switch fallback {
    case .character(_, let unknown, _), .bytes(_, let unknown): unknown
    }
  }
  /// A whole word in the vocabulary is taken as it is, whatever the merges would produce.
  var ignoresMerges = false
  /// SentencePiece's user-defined pieces, never split and never merged.
  var userDefined = ByteTrie()

  private struct Symbol {
    /// −1 for a character without a piece.
    var id: Int32
    var start: Int32
    /// 0 once the symbol has been merged into another.
    var count: Int32
    var previous: Int32
    var next: Int32
    var isFrozen = false
  }

  /// A candidate for merging.
  fileprivate struct Pair {
    /// Rank and left symbol in one number: the smallest merges first.
    let key: UInt64
    let right: Int32
    /// Combined length in bytes. The pair is stale if its symbols no longer add up to it.
    let count: Int32
    let id: Int32

    var left: Int { Int(key & 0xFFFF_FFFF) }
  }

  /// Appends the ids of a piece of text.
  func encode(_ text: Bytes, into ids: inout [Int]) {
    guard !text.isEmpty else { return }
    precondition(text.count < Int(Int32.max))
    if ignoresMerges, let id = vocabulary.id(of: text) { return ids.append(id) }
    var symbols = symbols(of: text)
    if symbols.count > 1 { merge(&symbols, text) }
    append(symbols, text, to: &ids)
  }

  // MARK: Symbols

  private func symbols(of text: Bytes) -> [Symbol] {
    var symbols: [Symbol] = []
    symbols.reserveCapacity(text.count)
    func add(_ id: Int, _ start: Int, _ count: Int, frozen: Bool = false) {
      let place = Int32(symbols.count)
      symbols.append(
        Symbol(
          id: Int32(id), start: Int32(start), count: Int32(count), previous: place - 1, next: place + 1,
          isFrozen: frozen))
    }
    var unknownRun: (start: Int, count: Int)?
    var index = 0
    while index < text.count {
      if let (length, id) = userDefined.longestMatch(in: text, at: index) {
        add(id, index, length, frozen: true)
        index += length
        continue
      }
      let length = min(utf8Length(text[index]), text.count - index)
      defer { index += length }
      let id = vocabulary.id(of: Bytes(rebasing: text[index..<index + length]))
      guard case .character(let bytePieces, let unknown, let fuses) = fallback else {
        add(id ?? -1, index, length)
        continue
      }
      if let id {
        if let (start, count) = unknownRun { add(unknown!, start, count) }
        unknownRun = nil
        add(id, index, length)
      } else if let bytePieces {
        // An unknown token that is still pending ends up after the bytes, as in `tokenizers`.
        for offset in 0..<length { add(bytePieces[Int(text[index + offset])], index + offset, 1) }
      } else if let unknown {
        if let run = unknownRun, fuses {
          unknownRun = (run.start, run.count + length)
        } else {
          if let (start, count) = unknownRun { add(unknown, start, count) }
          unknownRun = (index, length)
        }
      }
    }
    if let (start, count) = unknownRun, case .character(_, .some(let unknown), _) = fallback {
      add(unknown, start, count)
    }
    if !symbols.isEmpty { symbols[symbols.count - 1].next = -1 }
    return symbols
  }

  // MARK: Merges

  private func merge(_ symbols: inout [Symbol], _ text: Bytes) {
    symbols.withUnsafeMutableBufferPointer { symbols in
      var pairs = MinHeap<Pair>()
      for left in 0..<symbols.count - 1 {
        if let pair = pair(symbols, left, left + 1, text) { pairs.append(pair) }
      }
      pairs.order()
      while let pair = pairs.popFirst() {
        let (left, right) = (pair.left, Int(pair.right))
        guard symbols[left].count > 0, symbols[right].count > 0,
          symbols[left].count + symbols[right].count == pair.count
        else { continue }
        symbols[left].count = pair.count
        symbols[left].id = pair.id
        symbols[right].count = 0
        let next = symbols[right].next
        symbols[left].next = next
        if next >= 0 {
          symbols[Int(next)].previous = Int32(left)
          if let pair = self.pair(symbols, left, Int(next), text) { pairs.push(pair) }
        }
        let previous = symbols[left].previous
        if previous >= 0, let pair = self.pair(symbols, Int(previous), left, text) { pairs.push(pair) }
      }
    }
  }

  @inline(__always)
  private func pair(
    _ symbols: UnsafeMutableBufferPointer<Symbol>, _ left: Int, _ right: Int, _ text: Bytes
  ) -> Pair? {
    let (first, second) = (symbols[left], symbols[right])
    let count = first.count + second.count
    switch order {
    case .merges(let table):
      guard let (rank, id) = table.merge(first.id, second.id) else { return nil }
      return Pair(key: UInt64(rank) << 32 | UInt64(left), right: Int32(right), count: count, id: id)
    case .scores(let scores):
      guard !first.isFrozen && !second.isFrozen,
        let id = vocabulary.id(of: Bytes(rebasing: text[Int(first.start)..<Int(first.start + count)]))
      else { return nil }
      let rank = UInt64(Self.rank(scores[id])) << 32
      return Pair(key: rank | UInt64(left), right: Int32(right), count: count, id: Int32(id))
    }
  }

  /// Maps higher scores to smaller numbers.
  private static func rank(_ score: Float) -> UInt32 {
    guard !score.isNaN else { return .max }
    let bits = (score + 0).bitPattern  // + 0 makes −0 equal to 0
    return bits >> 31 == 1 ? bits : 0x7FFF_FFFF - bits
  }

  // MARK: Ids

  private func append(_ symbols: [Symbol], _ text: Bytes, to ids: inout [Int]) {
    var place = symbols.isEmpty ? -1 : 0
    var followsUnknown = false
    while place >= 0 {
      let symbol = symbols[place]
      place = Int(symbol.next)
      guard symbol.id < 0 else {
        ids.append(Int(symbol.id))
        followsUnknown = false
        continue
      }
      guard case .bytes(let pieces, let unknown) = fallback else { continue }
      for byte in text[Int(symbol.start)..<Int(symbol.start + symbol.count)] {
        if let piece = pieces[Int(byte)] {
          ids.append(piece)
          followsUnknown = false
        } else {
          if let unknown, !followsUnknown { ids.append(unknown) }
          followsUnknown = true
        }
      }
    }
  }
}

/// All that the heap needs from its elements.
protocol Keyed {
  var key: UInt64 { get }
}

extension BPE.Pair: Keyed {}

/// A binary heap with the smallest key on top.
struct MinHeap<Element: Keyed> {
  private var items: [Element] = []

  /// Appends an item without restoring the heap order: `order` does that in linear time.
  mutating func append(_ item: Element) { items.append(item) }

  mutating func order() {
    for place in stride(from: items.count / 2 - 1, through: 0, by: -1) { sink(place) }
  }

  mutating func push(_ item: Element) {
    items.append(item)
    var place = items.count - 1
    while place > 0, items[(place - 1) / 2].key > item.key {
      items[place] = items[(place - 1) / 2]
      place = (place - 1) / 2
    }
    items[place] = item
  }

  mutating func popFirst() -> Element? {
    guard let first = items.first, let last = items.popLast() else { return nil }
    if !items.isEmpty {
      items[0] = last
      sink(0)
    }
    return first
  }

  private mutating func sink(_ start: Int) {
    var place = start
    let item = items[place]
    while true {
      var child = place * 2 + 1
      if child >= items.count { break }
      if child + 1 < items.count, items[child + 1].key < items[child].key { child += 1 }
      if items[child].key >= item.key { break }
      items[place] = items[child]
      place = child
    }
    items[place] = item
  }
}
