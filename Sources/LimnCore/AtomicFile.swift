import CLimnSystem

/// A file being written: NAME.partial until it is complete, and removed if it never is. An existing target that is not
/// a plain file, such as a pipe or a device, is written to directly and never replaced.
package final class AtomicFile {
  package let path: String
  private let partial: String
  private let descriptor: Int32
  private var isPublished = false

  /// Begins a file, overwriting a partial one that an earlier attempt left.
  /// - Throws: `unavailable` if the folder does not allow it.
  package init(_ path: String) throws(LimnError) {
    self.path = path
    let kind = limn_status_of_path(path).kind
    partial = kind == LIMN_FILE_MISSING || kind == LIMN_FILE_PLAIN ? path + ".partial" : path
    descriptor = limn_open_writing(partial)
    guard descriptor >= 0 else { throw Self.refusal(path, limn_errno()) }
  }

  /// Appends bytes.
  /// - Throws: `unavailable`, with the system's reason.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(LimnError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = limn_write(descriptor, rest.baseAddress!, rest.count)
      if count < 0 {
        if limn_errno() == EINTR { continue }
        throw Self.refusal(path, limn_errno())
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  package func write(_ bytes: [UInt8]) throws(LimnError) {
    try bytes.withUnsafeBufferPointer { bytes throws(LimnError) in try write(UnsafeRawBufferPointer(bytes)) }
  }

  /// Waits until all bytes are on disk.
  package func finish() throws(LimnError) {
    guard fsync(descriptor) == 0 else { throw Self.refusal(path, limn_errno()) }
  }

  /// Gives the file its final name, replacing an existing file of that name.
  package func publish() throws(LimnError) {
    guard partial == path || rename(partial, path) == 0 else { throw Self.refusal(path, limn_errno()) }
    isPublished = true
  }

  deinit {
    close(descriptor)
    if !isPublished, partial != path { unlink(partial) }
  }

  private static func refusal(_ path: String, _ code: Int32) -> LimnError {
    if limn_is_disk_full(code) {
      return LimnError(
        .unavailable, "the disk is full", in: path, remedy: "make room, or choose another place with \(.output)")
    }
    return LimnError(
      .unavailable, "cannot be written (\(String(cString: limn_error_text(code))))", in: path,
      remedy: "check the folder and its permissions")
  }

  /// How many bytes this user may still write to the volume of the path, which need not exist; nil if the system does
  /// not say.
  package static func freeSpace(at path: String) -> Int? {
    var place = path
    while !Folder.exists(place) {
      let parent = Folder.holding(place).path
      guard parent != place else { return nil }
      place = parent
    }
    let bytes = limn_free_bytes(place)
    return bytes >= 0 ? Int(bytes) : nil
  }
}
