/// A vocabulary as a tree of bytes: tokens that begin alike share the way.
package struct TokenTrie: Sendable {
  private let texts: [[UInt8]?]
  /// Nodes in the order of a walk. A node's subtree ends before `ends`, so a walk skips it in one step.
  private var bytes: [UInt8] = []
  private var depths: [UInt16] = []
  private var ends: [Int32] = []
  /// The ids of tokens that end at a node: `ids[firstIDs[node]..<firstIDs[node + 1]]`.
  private var firstIDs: [Int32] = []
  private var ids: [Int32] = []

  /// - Parameter texts: the bytes of each id; nil or empty: a token that is no text.
  package init(_ texts: [[UInt8]?]) {
    self.texts = texts
    let sorted = texts.indices.filter { texts[$0]?.isEmpty == false && texts[$0]!.count < 4096 }
      .sorted { texts[$0]!.lexicographicallyPrecedes(texts[$1]!) }
    var path: [Int32] = []
    var last: [UInt8] = []
    for id in sorted {
      let text = texts[id]!
      var shared = 0
      while shared < min(last.count, text.count), last[shared] == text[shared] { shared += 1 }
      while path.count > shared { ends[Int(path.removeLast())] = Int32(bytes.count) }
      for byte in text[shared...] {
        path.append(Int32(bytes.count))
        bytes.append(byte)
        depths.append(UInt16(path.count))
        ends.append(0)
        firstIDs.append(Int32(ids.count))
      }
      ids.append(Int32(id))
      last = text
    }
    while let node = path.popLast() { ends[Int(node)] = Int32(bytes.count) }
    firstIDs.append(Int32(ids.count))
  }

  /// The number of ids.
  package var vocabulary: Int { texts.count }

  /// The bytes of an id; nil for one that is no text.
  package func text(of id: Int32) -> [UInt8]? { texts.indices.contains(Int(id)) ? texts[Int(id)] : nil }

  /// Walks all ways that `next` goes along, and reports the tokens on them.
  func visit(
    from state: Int32, next: (Int32, UInt8) -> Int32?, found: (Int32) -> Void
  ) {
    var states = [state]
    var node = 0
    while node < bytes.count {
      let depth = Int(depths[node])
      guard let after = next(states[depth - 1], bytes[node]) else {
        node = Int(ends[node])
        continue
      }
      if states.count > depth { states[depth] = after } else { states.append(after) }
      for place in Int(firstIDs[node])..<Int(firstIDs[node + 1]) { found(ids[place]) }
      node += 1
    }
  }
}

/// A set of token ids, one bit each.
package struct TokenMask: Sendable, Equatable {
  private var words: [UInt64]

  init(count: Int) { words = [UInt64](repeating: 0, count: (count + 63) / 64) }

  mutating func insert(_ id: Int32) { words[Int(id) >> 6] |= 1 << (UInt64(id) & 63) }

  package func contains(_ id: Int32) -> Bool {
    Int(id) >> 6 < words.count && words[Int(id) >> 6] >> (UInt64(id) & 63) & 1 == 1
  }

  package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

  /// Forbids all other tokens.
  package func apply(to logits: UnsafeMutableBufferPointer<Float>) {
    for (place, word) in words.enumerated() where word != .max {
      for bit in 0..<min(64, max(0, logits.count - place * 64)) where word >> UInt64(bit) & 1 == 0 {
        logits[place * 64 + bit] = -.infinity
      }
    }
    for index in min(logits.count, words.count * 64)..<logits.count { logits[index] = -.infinity }
  }
}
