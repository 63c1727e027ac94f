import LimnCore

/// The table of contents of a zip archive with stored (uncompressed) entries, as `torch.save` writes it, in 32-bit or
/// 64-bit form. Only positions are read; the entries stay in the mapped file.
///
///     entries … (local header, name, extra, data)
///     directory: one record each (sizes, place of the local header, name, extra)
///     [64-bit end record, its locator]  end record (number of records, size and place of the directory)
struct Zip {
  /// The range of each entry's data, by name.
  let entries: [ExactString: Range<Int>]

  private static let endSize = 22
  private static let recordSize = 46
  private static let localSize = 30

  subscript(_ name: String) -> Range<Int>? { entries[ExactString(name)] }

  init(_ bytes: UnsafeRawBufferPointer, place: String) throws(LimnError) {
    let (count, directory) = try Self.directory(bytes, place: place)
    var reader = ByteReader(
      UnsafeRawBufferPointer(rebasing: bytes[..<directory.upperBound]), place: place,
      at: directory.lowerBound)
    var entries: [ExactString: Range<Int>] = [:]
    for _ in 0..<count {
      let (name, range) = try Self.record(&reader, file: bytes, place: place)
      guard entries.updateValue(range, forKey: ExactString(name)) == nil else {
        throw reader.error("the zip entry \"\(name)\" stands there twice")
      }
    }
    self.entries = entries
  }

  /// Finds the directory through the end record, which a comment may follow.
  private static func directory(
    _ bytes: UnsafeRawBufferPointer, place: String
  ) throws(LimnError) -> (count: Int, range: Range<Int>) {
    var end = bytes.count - endSize
    let lowest = Swift.max(0, end - 0xFFFF)
    while end >= lowest, bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self) != 0x0605_4B50 { end -= 1 }
    guard end >= lowest else {
      throw LimnError.badData(
        "the zip archive has no end record", in: place, remedy: "fetch the file again if its download was cut"
      )
    }
    var count = UInt64(bytes.loadUnaligned(fromByteOffset: end + 10, as: UInt16.self))
    var size = UInt64(bytes.loadUnaligned(fromByteOffset: end + 12, as: UInt32.self))
    var start = UInt64(bytes.loadUnaligned(fromByteOffset: end + 16, as: UInt32.self))
    // torch always writes the 64-bit end record, with its locator right before the old one.
    if end >= 20, bytes.loadUnaligned(fromByteOffset: end - 20, as: UInt32.self) == 0x0706_4B50 {
      let record = bytes.loadUnaligned(fromByteOffset: end - 12, as: UInt64.self)
      guard end >= 56, record <= UInt64(end - 56),
        bytes.loadUnaligned(fromByteOffset: Int(record), as: UInt32.self) == 0x0606_4B50
      else {
        throw LimnError.badData("the zip archive's 64-bit end record is not where it should be", in: place)
      }
      count = bytes.loadUnaligned(fromByteOffset: Int(record) + 32, as: UInt64.self)
      size = bytes.loadUnaligned(fromByteOffset: Int(record) + 40, as: UInt64.self)
      start = bytes.loadUnaligned(fromByteOffset: Int(record) + 48, as: UInt64.self)
      end = Int(record)
    }
    guard size <= UInt64(end), start <= UInt64(end) - size, count <= size / UInt64(recordSize) else {
      throw LimnError.badData("the zip archive's directory lies outside the file", in: place)
    }
    return (Int(count), Int(start)..<Int(start + size))
  }

  private static func record(
    _ reader: inout ByteReader, file bytes: UnsafeRawBufferPointer, place: String
  ) throws(LimnError) -> (String, Range<Int>) {
    let what = "the zip directory"
    let start = reader.position
    let record = try reader.take(recordSize, what)
    func field<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
      bytes.loadUnaligned(fromByteOffset: record.lowerBound + offset, as: T.self)
    }
    guard field(0, UInt32.self) == 0x0201_4B50 else {
      throw reader.error("the zip directory is broken", at: start)
    }
    let nameRange = try reader.take(Int(field(28, UInt16.self)), what)
    let extra = try reader.take(Int(field(30, UInt16.self)), what)
    _ = try reader.take(Int(field(32, UInt16.self)), what)
    guard let name = String(validating: bytes[nameRange], as: UTF8.self) else {
      throw reader.error("the name of a zip entry is not UTF-8", at: start)
    }
    guard field(10, UInt16.self) == 0, field(8, UInt16.self) & 1 == 0 else {
      throw LimnError.badData(
        "the zip entry \"\(name)\" is compressed or encrypted", in: place,
        remedy: "save the model with torch.save, which stores its entries as they are")
    }
    var sizes = [
      UInt64(field(24, UInt32.self)), UInt64(field(20, UInt32.self)), UInt64(field(42, UInt32.self)),
    ]
    try widen(&sizes, extra: bytes[extra], reader)
    guard sizes[0] == sizes[1] else {
      throw reader.error("the sizes of the zip entry \"\(name)\" differ", at: start)
    }
    return (name, try data(of: name, size: sizes[0], local: sizes[2], bytes, place: place))
  }

  /// 32-bit fields whose bits are all ones are stored in the 64-bit extra field instead, in this order.
  private static func widen(
    _ sizes: inout [UInt64], extra: Slice<UnsafeRawBufferPointer>, _ reader: ByteReader
  ) throws(LimnError) {
    guard sizes.contains(0xFFFF_FFFF) else { return }
    var fields = ByteReader(UnsafeRawBufferPointer(rebasing: extra), place: reader.place)
    while fields.remaining >= 4 {
      let identifier: UInt16 = try fields.integer("a zip extra field")
      let length: UInt16 = try fields.integer("a zip extra field")
      let field = try fields.take(Int(length), "a zip extra field")
      guard identifier == 1 else { continue }
      var values = ByteReader(UnsafeRawBufferPointer(rebasing: fields.bytes[field]), place: reader.place)
      for index in sizes.indices where sizes[index] == 0xFFFF_FFFF {
        sizes[index] = try values.integer("a zip extra field")
      }
      return
    }
    throw reader.error("a zip entry lacks its 64-bit sizes")
  }

  /// The local header says where the data begins: its name and extra field may be longer than the directory's.
  private static func data(
    of name: String, size: UInt64, local: UInt64, _ bytes: UnsafeRawBufferPointer, place: String
  ) throws(LimnError) -> Range<Int> {
    let outside = LimnError.badData("the zip entry \"\(name)\" lies outside the file", in: place)
    guard bytes.count >= localSize, local <= UInt64(bytes.count - localSize) else { throw outside }
    let header = Int(local)
    guard bytes.loadUnaligned(fromByteOffset: header, as: UInt32.self) == 0x0403_4B50 else { throw outside }
    let nameLength = bytes.loadUnaligned(fromByteOffset: header + 26, as: UInt16.self)
    let extraLength = bytes.loadUnaligned(fromByteOffset: header + 28, as: UInt16.self)
    let start = header + localSize + Int(nameLength) + Int(extraLength)
    guard start <= bytes.count, size <= UInt64(bytes.count - start) else { throw outside }
    return start..<start + Int(size)
  }
}
