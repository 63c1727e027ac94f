#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif
package import LimnTensor

/// A file in the making: NAME.partial until it is whole, and removed if that never happens.
package final class PartialFile {
  package let path: String
  private let partial: String
  private let descriptor: Int32
  private var isPublished = false

  /// Begins a file, in the place of one that was left behind.
  /// - Throws: unavailable, where the folder does not let it be written.
  package init(_ path: String) throws(LimnError) {
    self.path = path
    partial = path + ".partial"
    descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.refusal(path, errno) }
  }

  /// Appends bytes.
  /// - Throws: unavailable, with the disk's reason.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    var rest = bytes
    while !rest.isEmpty {
      #if canImport(Glibc)
        let count = Glibc.write(descriptor, rest.baseAddress!, rest.count)
      #else
        let count = Darwin.write(descriptor, rest.baseAddress!, rest.count)
      #endif
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.refusal(path, errno)
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  package func write(_ bytes: [UInt8]) throws(LimnError) {
    try bytes.withUnsafeBufferPointer { bytes throws(LimnError) in try write(UnsafeRawBufferPointer(bytes)) }
  }

  /// Waits until the disk has everything.
  package func finish() throws(LimnError) {
    guard fsync(descriptor) == 0 else { throw Self.refusal(path, errno) }
  }

  /// Gives the file its name; one of this name is replaced.
  package func publish() throws(LimnError) {
    guard rename(partial, path) == 0 else { throw Self.refusal(path, errno) }
    isPublished = true
  }

  deinit {
    close(descriptor)
    if !isPublished { unlink(partial) }
  }

  private static func refusal(_ path: String, _ code: Int32) -> LimnError {
    if code == ENOSPC || code == EDQUOT {
      return LimnError(
        .unavailable, "the disk is full", in: path, remedy: "make room, or choose another place with --output")
    }
    return LimnError(
      .unavailable, "cannot be written (\(String(cString: strerror(code))))", in: path,
      remedy: "check the folder and its permissions")
  }

  /// How many bytes this user may still write where the path is, or would be; nil where the system does not tell.
  package static func freeSpace(at path: String) -> Int? {
    var place = path
    while !Folder.exists(place) {
      let parent = Folder.holding(place).path
      guard parent != place else { return nil }
      place = parent
    }
    var status = statvfs()
    guard statvfs(place, &status) == 0 else { return nil }
    let (bytes, overflow) = Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize))
    return overflow ? .max : bytes
  }
}
