import LimnFiles

/// Maps pieces to ids and back.
///
/// All pieces lie in one array and a hash table over their bytes finds them, so a vocabulary of 128,000 loads
/// without an object per entry. Pieces are equal if their bytes are: a vocabulary may hold "é" twice,
/// composed and decomposed.
struct Vocabulary: Sendable {
  /// The location of a piece in `bytes`; a negative count for ids without one.
  private struct Extent {
    var start: Int32 = 0
    var count: Int32 = -1
  }

  /// An id in the slot of its piece's hash; −1 if free. The stored hash alone rules out most other pieces.
  private struct Slot {
    var id: Int32 = -1
    var hash: UInt32 = 0
  }

  private var bytes: [UInt8] = []
  private var extents: [Extent] = []
  /// Never more than half full.
  private var table: [Slot]
  private(set) var longest = 0
  /// The number of ids with a piece.
  private(set) var count = 0

  /// Files may not give ids at or above this limit.
  static let idLimit = ModelConfig.tokenIDLimit

  init(expected: Int = 0) {
    var size = 16
    while size < expected * 2 { size *= 2 }
    table = Array(repeating: Slot(), count: size)
    extents.reserveCapacity(expected)
  }

  /// One more than the highest id.
  var idCount: Int { extents.count }

  /// The piece of an id; nil for an id without one.
  func piece(_ id: Int) -> ArraySlice<UInt8>? {
    guard extents.indices.contains(id), extents[id].count >= 0 else { return nil }
    let start = Int(extents[id].start)
    return bytes[start..<start + Int(extents[id].count)]
  }

  func id(of piece: String) -> Int? {
    var piece = piece
    return piece.withUTF8 { id(of: $0) }
  }

  @inline(__always)
  func id(of piece: Bytes) -> Int? {
    guard piece.count <= longest else { return nil }
    let id = table[place(of: piece, hash: Self.hash(piece))].id
    return id < 0 ? nil : Int(id)
  }

  mutating func set(_ piece: String, id: Int, isFound: Bool = true) {
    var piece = piece
    piece.withUTF8 { set($0, id: id, isFound: isFound) }
  }

  /// Sets the piece of an id. Of two ids with the same piece, lookup finds the later.
  /// - Parameter isFound: false for pieces that only map from id to text.
  mutating func set(_ piece: Bytes, id: Int, isFound: Bool = true) {
    precondition(id >= 0 && id < Self.idLimit && bytes.count + piece.count < Int(Int32.max))
    if id >= extents.count {
      extents.append(contentsOf: repeatElement(Extent(), count: id + 1 - extents.count))
    }
    if extents[id].count < 0 { count += 1 }
    extents[id] = Extent(start: Int32(bytes.count), count: Int32(piece.count))
    bytes.append(contentsOf: piece)
    guard isFound else { return }
    longest = max(longest, piece.count)
    if count * 2 > table.count { grow() }
    let hash = Self.hash(piece)
    table[place(of: piece, hash: hash)] = Slot(id: Int32(id), hash: hash)
  }

  private mutating func grow() {
    let slots = table.filter { $0.id >= 0 }
    table = Array(repeating: Slot(), count: table.count * 2)
    for slot in slots {
      let free = bytes.withUnsafeBufferPointer {
        place(of: self.piece(Int(slot.id), in: $0), hash: slot.hash)
      }
      table[free] = slot
    }
  }

  private func piece(_ id: Int, in bytes: Bytes) -> Bytes {
    let start = Int(extents[id].start)
    return Bytes(rebasing: bytes[start..<start + Int(extents[id].count)])
  }

  /// Hashes eight bytes at a time by multiplying and folding, then the remainder.
  private static func hash(_ piece: Bytes) -> UInt32 {
    let factor: UInt64 = 0x9E37_79B9_7F4A_7C15
    let words = UnsafeRawBufferPointer(piece)
    var hash = UInt64(piece.count) &* factor
    var index = 0
    while index + 8 <= piece.count {
      hash = (hash ^ hash >> 32 ^ words.loadUnaligned(fromByteOffset: index, as: UInt64.self)) &* factor
      index += 8
    }
    var rest: UInt64 = 0
    while index < piece.count {
      rest = rest << 8 | UInt64(piece[index])
      index += 1
    }
    hash = (hash ^ hash >> 32 ^ rest) &* factor
    return UInt32(truncatingIfNeeded: hash >> 32)
  }

  /// The slot that holds this piece, or the free one where it would go.
  private func place(of piece: Bytes, hash: UInt32) -> Int {
    let mask = table.count - 1
    var place = Int(hash) & mask
    return bytes.withUnsafeBufferPointer { bytes -> Int in
      while table[place].id >= 0 {
        if table[place].hash == hash && isSame(self.piece(Int(table[place].id), in: bytes), piece) { break }
        place = (place + 1) & mask
      }
      return place
    }
  }

  /// Inlined, because pieces are too short to be worth a call.
  @inline(__always)
  private func isSame(_ a: Bytes, _ b: Bytes) -> Bool {
    guard a.count == b.count else { return false }
    for index in a.indices where a[index] != b[index] { return false }
    return true
  }
}
