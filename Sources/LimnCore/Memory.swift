import CLimnSystem

/// Read-only bytes that outlive the tensors pointing into them: a mapped file, the beginning of one, or memory that
/// limn filled once.
///
/// Mapped weights stay on disk; the page cache holds them once for all processes.
// @unchecked: the bytes never change after `init`, so any thread may read them.
package final class Memory: @unchecked Sendable {
  package let bytes: UnsafeRawBufferPointer
  /// The total number of bytes: more than `bytes` holds if only a file's beginning is here.
  package let size: Int
  /// The file that the bytes come from, for messages; nil for memory that limn allocated.
  package let path: String?
  private let isMapped: Bool

  /// Maps a whole file. An empty file gives empty bytes.
  package init(mapping path: String) throws(LimnError) {
    let file = limn_open_reading(path)
    guard file >= 0 else { throw Self.refusal(path, limn_errno()) }
    defer { close(file) }
    let status = limn_status_of_file(file)
    guard status.kind == LIMN_FILE_PLAIN else {
      throw LimnError(.badData, "not a file", in: path, remedy: "name a file")
    }
    let count = Int(status.bytes)
    size = count
    self.path = path
    self.isMapped = count > 0
    guard count > 0 else {
      self.bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = limn_map_file(file, count) else { throw Self.refusal(path, limn_errno()) }
    self.bytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  /// Allocates `count` bytes, aligned to 64, and calls `fill`, which must write all of them.
  package init(count: Int, fill: (UnsafeMutableRawBufferPointer) throws(LimnError) -> Void) throws(LimnError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    size = count
    path = nil
    isMapped = false
    self.bytes = UnsafeRawBufferPointer(buffer)
    try fill(buffer)
  }

  /// The first bytes of a file that is elsewhere.
  /// - Parameters:
  ///   - size: the size of the whole file; bytes beyond it are dropped.
  ///   - path: the file, for messages.
  package init(beginning: some Collection<UInt8>, size: Int, path: String) {
    precondition(size >= 0)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: min(beginning.count, size), alignment: 64)
    buffer.copyBytes(from: beginning.prefix(size))
    self.size = size
    self.path = path
    isMapped = false
    bytes = UnsafeRawBufferPointer(buffer)
  }

  /// Tells the system that these bytes are read at most once more, so that it may reclaim the pages of a mapped file.
  /// Reading a file of any size from beginning to end then takes little memory.
  package func release(_ range: Range<Int>) {
    guard isMapped, !range.isEmpty else { return }
    limn_release_pages(bytes.baseAddress! + range.lowerBound, range.count)
  }

  deinit {
    guard let start = bytes.baseAddress else { return }
    if isMapped {
      limn_unmap(start, bytes.count)
    } else {
      UnsafeMutableRawPointer(mutating: start).deallocate()
    }
  }

  private static func refusal(_ path: String, _ code: Int32) -> LimnError {
    let reason = String(cString: limn_error_text(code))
    return limn_is_missing(code)
      ? LimnError(.notFound, "no such file", in: path, remedy: "check the path")
      : LimnError(.unavailable, "cannot be opened (\(reason))", in: path)
  }
}

/// Uninitialised memory, aligned to at least 64 bytes, in large pages where that pays.
package func allocateLarge(_ count: Int) -> UnsafeMutableRawBufferPointer {
  let isLarge = count >= 2 * largePage
  let size = isLarge ? (count + largePage - 1) & ~(largePage - 1) : count
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: isLarge ? largePage : 64)
  if isLarge { limn_prefer_large_pages(buffer.baseAddress!, size) }
  return buffer
}

/// Zeros that the system allocates page by page, when they are first written, to be released with `unmapPages`; nil if
/// no such range of addresses is free.
package func mapPages(_ count: Int) -> UnsafeMutableRawBufferPointer? {
  limn_map_zeros(count).map { UnsafeMutableRawBufferPointer(start: $0, count: count) }
}

package func unmapPages(_ memory: UnsafeMutableRawBufferPointer) { limn_unmap(memory.baseAddress!, memory.count) }

/// Each first touch of a 4 KB page costs the processor a few hundred nanoseconds, and twice that in a virtual machine.
private let largePage = 2 << 20
