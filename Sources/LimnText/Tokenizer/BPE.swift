/// Byte-pair encoding: starts from single characters and merges neighbours, the best pair first, the leftmost
/// of equals, until no pair is left that could be merged.
///
/// A heap holds the pairs and a linked list the symbols, so that a text of n characters takes O(n log n)
/// however few spaces it has.
struct BPE: Sendable {
  /// What makes one pair better than another.
  enum Order: Sendable {
    /// A list of merges, first ones first: Hugging Face and byte-level GGUF.
    case merges(MergeTable)
    /// A pair is merged if the vocabulary has the joined piece; higher scores first: SentencePiece.
    case scores([Float])
  }

  /// What becomes of a character that is no piece of the vocabulary.
  enum Fallback: Sendable {
    /// As `tokenizers`: byte pieces if all are there, else the unknown token, runs of it fused if so said,
    /// else nothing. The result takes part in merges.
    case character(bytePieces: [Int]?, unknown: Int?, fuses: Bool)
    /// As SentencePiece: after the merges, byte pieces, else the unknown token; runs of it are one.
    case bytes(pieces: [Int?], unknown: Int?)
  }

  let vocabulary: Vocabulary
  let order: Order
  let fallback: Fallback
  /// A whole word that is in the vocabulary is taken as it is, whatever the merges would make of it.
  var ignoresMerges = false
  /// SentencePiece's user-defined pieces, never split and never merged.
  var userDefined = ByteTrie()

  private struct Symbol {
    /// −1 for a character without a piece.
    var id: Int32
    var start: Int32
    /// 0 once the symbol is part of another.
    var count: Int32
    var previous: Int32
    var next: Int32
    var isFrozen = false
  }

  /// A pair that could be merged.
  fileprivate struct Pair {
    /// Rank and left symbol in one number: the smallest is merged first.
    let key: UInt64
    let right: Int32
    /// Bytes of both together; a pair of which one has grown since no longer has it.
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
        // A pending unknown stays pending here, and so ends up behind the bytes: as `tokenizers` does it.
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

  /// A number that is the smaller, the higher the score.
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

/// Comparable by one number is all that the heap needs.
protocol Keyed {
  var key: UInt64 { get }
}

extension BPE.Pair: Keyed {}

/// A binary heap, the smallest key on top.
struct MinHeap<Element: Keyed> {
  private var items: [Element] = []

  /// Adds an item without keeping the order: `order` restores it, in linear time.
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
