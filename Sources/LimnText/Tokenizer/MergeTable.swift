/// The merges of a BPE: which pairs of ids become one, and in which order. A hash table in flat arrays,
/// because real vocabularies have 280,000 merges.
struct MergeTable: Sendable {
  private struct Entry {
    var pair: UInt64 = .max
    var rank: UInt32 = 0
    var id: Int32 = 0
  }

  private var entries: [Entry]

  init(count: Int) {
    var size = 16
    while size * 2 < count * 3 { size *= 2 }  // at most two thirds full
    entries = Array(repeating: Entry(), count: size)
  }

  /// - Parameter keepsFirst: which of two merges of the same pair counts: the first in llama.cpp, the last in
  ///   `tokenizers`.
  mutating func add(left: Int, right: Int, rank: Int, id: Int, keepsFirst: Bool) {
    let pair = UInt64(left) << 32 | UInt64(right)
    let place = place(of: pair)
    if keepsFirst && entries[place].pair == pair { return }
    entries[place] = Entry(pair: pair, rank: UInt32(rank), id: Int32(id))
  }

  /// All merges, in order of rank.
  var inOrder: [(left: Int, right: Int, id: Int)] {
    entries.filter { $0.pair != .max }.sorted { $0.rank < $1.rank }
      .map { (Int($0.pair >> 32), Int($0.pair & 0xFFFF_FFFF), Int($0.id)) }
  }

  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> (rank: UInt32, id: Int32)? {
    let pair = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    let entry = entries[place(of: pair)]
    return entry.pair == pair ? (entry.rank, entry.id) : nil
  }

  @inline(__always)
  private func place(of pair: UInt64) -> Int {
    let mask = entries.count - 1
    let hash = pair &* 0x9E37_79B9_7F4A_7C15
    var place = Int(truncatingIfNeeded: hash >> 29) & mask
    while entries[place].pair != .max && entries[place].pair != pair { place = (place + 1) & mask }
    return place
  }
}
