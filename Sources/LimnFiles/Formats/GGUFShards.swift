package import LimnCore

/// A model in several GGUF files, NAME-00001-of-0000N.gguf and so on, as llama.cpp splits them. The first has all
/// metadata, and perhaps no tensors; it stands for all of them.
///
///     split.no  which of the files this is, from 0      split.count  how many      split.tensors.count  in all of them
extension GGUF {
  /// Which of several files this one is, from 0, and how many there are; nil for a whole model.
  private var split: (number: Int, count: Int)? {
    guard let count = self["split.count"]?.int, count > 1, let number = self["split.no"]?.int else { return nil }
    return (number, count)
  }

  /// Whether this is a file of several, but not the one that stands for all.
  package var isLaterShard: Bool { (split?.number ?? 0) > 0 }

  /// Adds the tensors of the other files to those of the first.
  /// - Throws: bad data that names the right file, for any other than the first, and where one is missing.
  mutating func addShards() throws(LimnError) {
    guard let (number, count) = split else { return }
    guard number == 0 else {
      let first = shardPath(1, of: count, from: number + 1)
      throw LimnError.badData(
        "this file is part \(number + 1) of a model in \(count) files", in: path, expected: "the first, \(first)",
        remedy: "name \(first)")
    }
    guard path.hasSuffix(Self.ending(1, of: count)) else {
      throw LimnError.badData(
        "this file is the first of \(count), and its name does not tell the others'", in: path,
        expected: "NAME\(Self.ending(1, of: count))", remedy: "give the files the names that they had")
    }
    for index in 1..<max(1, min(count, Self.mostShards)) {
      let other = shardPath(index + 1, of: count, from: 1)
      guard Folder.exists(other) else {
        throw LimnError.badData(
          "a file of the model is missing", in: path, expected: other, remedy: "fetch all \(count) files of the model")
      }
      try add(try GGUF(shard: other), index, of: count)
    }
    if let all = self["split.tensors.count"]?.int, all != tensors.count {
      throw LimnError.badData(
        "the files of the model hold another number of tensors than the first one says", in: path,
        expected: "\(all)", found: "\(tensors.count)", remedy: "fetch all \(count) files of the model again")
    }
  }

  /// Adds the tensors of the file after `index` others.
  mutating func add(_ other: GGUF, _ index: Int, of count: Int) throws(LimnError) {
    guard let split = other.split, split == (index, count) else {
      throw LimnError.badData(
        "this file is not the part of the model that its name says", in: other.path,
        expected: "part \(index + 1) of \(count)",
        found: other.split.map { "part \($0.number + 1) of \($0.count)" } ?? "a whole model",
        remedy: "fetch the files of the model again")
    }
    let known = Set(tensors.map { ExactString($0.name) })
    if let double = other.tensors.first(where: { known.contains(ExactString($0.name)) }) {
      throw LimnError.badData("the tensor \(double.name) stands in another file of the model too", in: other.path)
    }
    append(other)
  }

  // MARK: Names

  /// The digits in a name leave room for no more.
  private static let mostShards = 99_999

  /// "-00002-of-00003.gguf"
  private static func ending(_ number: Int, of count: Int) -> String {
    func digits(_ number: Int) -> String { String(repeating: "0", count: max(0, 5 - "\(number)".count)) + "\(number)" }
    return "-\(digits(number))-of-\(digits(count)).gguf"
  }

  /// The path of one of the files; where this file's name does not tell it, the form that it should have.
  private func shardPath(_ number: Int, of count: Int, from own: Int) -> String {
    let ending = Self.ending(own, of: count)
    return (path.hasSuffix(ending) ? String(path.dropLast(ending.count)) : "NAME") + Self.ending(number, of: count)
  }

  /// A file's name without extension, and without the part that distinguishes several files of one model.
  package static func stem(of name: String) -> String {
    guard name.hasSuffix(".gguf") else { return name }
    let stem = name.dropLast(".gguf".count)
    let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
    func isNumber(_ part: Substring) -> Bool { part.count == 5 && part.allSatisfy { $0.isASCII && $0.isNumber } }
    guard parts.count > 3, parts[parts.count - 2] == "of", isNumber(parts[parts.count - 1]),
      isNumber(parts[parts.count - 3])
    else { return String(stem) }
    return parts.dropLast(3).joined(separator: "-")
  }
}
