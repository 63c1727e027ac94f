/// Pieces and their ids, both ways.
///
/// All pieces lie in one array, and a hash table over their bytes finds them, so that a vocabulary of 128,000
/// loads without an object per entry. Pieces are equal if their bytes are: a vocabulary may hold "é" twice,
/// composed and decomposed.
struct Vocabulary: Sendable {
  private var bytes: [UInt8] = []
  /// Where each id's piece is; empty for ids without one.
  private var starts: [Int32] = []
  private var counts: [Int32] = []
  /// Ids at the places of their hashes, −1 where free; never more than half full.
  private var table: [Int32]
  private(set) var longest = 0
  /// How many ids have a piece.
  private(set) var count = 0

  /// Ids beyond this are refused where files give them; the largest known vocabularies hold 300,000.
  static let idLimit = 1 << 22

  init(expected: Int = 0) {
    var size = 16
    while size < expected * 2 { size *= 2 }
    table = Array(repeating: -1, count: size)
    starts.reserveCapacity(expected)
    counts.reserveCapacity(expected)
  }

  /// One more than the highest id.
  var idCount: Int { starts.count }

  /// The piece of an id, nil for an id without one.
  func piece(_ id: Int) -> ArraySlice<UInt8>? {
    guard id >= 0 && id < starts.count && counts[id] >= 0 else { return nil }
    return bytes[Int(starts[id])..<Int(starts[id] + counts[id])]
  }

  func id(of piece: String) -> Int? {
    var piece = piece
    return piece.withUTF8 { id(of: $0) }
  }

  @inline(__always)
  func id(of piece: Bytes) -> Int? {
    guard piece.count <= longest else { return nil }
    let id = table[place(of: piece)]
    return id < 0 ? nil : Int(id)
  }

  mutating func set(_ piece: String, id: Int, isFound: Bool = true) {
    var piece = piece
    piece.withUTF8 { set($0, id: id, isFound: isFound) }
  }

  /// Gives an id its piece. Of two ids with the same piece, the later is found.
  /// - Parameter isFound: false for pieces that only lead from id to text.
  mutating func set(_ piece: Bytes, id: Int, isFound: Bool = true) {
    precondition(id >= 0 && id < Self.idLimit && bytes.count + piece.count < Int(Int32.max))
    if id >= starts.count {
      let missing = id + 1 - starts.count
      starts.append(contentsOf: repeatElement(0, count: missing))
      counts.append(contentsOf: repeatElement(-1, count: missing))
    }
    if counts[id] < 0 { count += 1 }
    starts[id] = Int32(bytes.count)
    counts[id] = Int32(piece.count)
    bytes.append(contentsOf: piece)
    guard isFound else { return }
    longest = max(longest, piece.count)
    if count * 2 > table.count { grow() }
    table[place(of: piece)] = Int32(id)
  }

  private mutating func grow() {
    let ids = table.filter { $0 >= 0 }
    table = Array(repeating: -1, count: table.count * 2)
    for id in ids {
      let free = bytes.withUnsafeBufferPointer { place(of: slice($0, Int(id))) }
      table[free] = id
    }
  }

  private func slice(_ bytes: Bytes, _ id: Int) -> Bytes {
    Bytes(rebasing: bytes[Int(starts[id])..<Int(starts[id] + counts[id])])
  }

  /// Where the table has this piece, or where it would go.
  private func place(of piece: Bytes) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325  // FNV-1a
    for byte in piece { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    let mask = table.count - 1
    var place = Int(truncatingIfNeeded: hash ^ hash >> 32) & mask
    return bytes.withUnsafeBufferPointer { bytes -> Int in
      while table[place] >= 0 {
        let candidate = slice(bytes, Int(table[place]))
        if candidate.count == piece.count && candidate.elementsEqual(piece) { break }
        place = (place + 1) & mask
      }
      return place
    }
  }
}
