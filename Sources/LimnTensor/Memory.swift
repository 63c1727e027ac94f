#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Read-only bytes that outlive the tensors which point into them: a mapped file, or memory that limn filled once.
///
/// Weights stay where they are on disk; the page cache holds them, once for all processes.
// @unchecked: the bytes never change after `init`, so any thread may read them.
package final class Memory: @unchecked Sendable {
  package let bytes: UnsafeRawBufferPointer
  /// The file behind the bytes, for messages; nil for memory of our own.
  package let path: String?
  private let isMapped: Bool

  /// Maps a whole file. An empty file gives empty bytes.
  package init(mapping path: String) throws(LimnError) {
    // A named pipe would keep `open` waiting for somebody who writes to it; for files the last flag means nothing.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.refusal(path, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.refusal(path, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw LimnError(.badData, "not a file", in: path, remedy: "name a file")
    }
    let count = Int(status.st_size)
    self.path = path
    self.isMapped = count > 0
    guard count > 0 else {
      self.bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
      throw Self.refusal(path, errno)
    }
    self.bytes = UnsafeRawBufferPointer(start: start, count: count)
    preferLargePages(start, count)
  }

  /// Allocates `count` bytes, aligned to 64, and lets `fill` write all of them.
  package init(count: Int, fill: (UnsafeMutableRawBufferPointer) throws(LimnError) -> Void) throws(LimnError)
  {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    self.path = nil
    self.isMapped = false
    self.bytes = UnsafeRawBufferPointer(buffer)
    try fill(buffer)
  }

  /// Tells the system that these bytes are read once more at most: it may take back the pages of a mapped file, so
  /// that reading a file of any size from its beginning to its end takes little memory.
  package func release(_ range: Range<Int>) {
    let page = Int(getpagesize())
    let (first, last) = ((range.lowerBound + page - 1) / page * page, range.upperBound / page * page)
    guard isMapped, first < last else { return }
    madvise(UnsafeMutableRawPointer(mutating: bytes.baseAddress! + first), last - first, MADV_DONTNEED)
  }

  deinit {
    guard let start = bytes.baseAddress else { return }
    if isMapped {
      munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    } else {
      UnsafeMutableRawPointer(mutating: start).deallocate()
    }
  }

  private static func refusal(_ path: String, _ code: Int32) -> LimnError {
    let reason = String(cString: strerror(code))
    return code == ENOENT || code == ENOTDIR
      ? LimnError(.notFound, "no such file", in: path, remedy: "check the path")
      : LimnError(.unavailable, "cannot be opened (\(reason))", in: path)
  }
}

/// Uninitialised memory, aligned to 64 bytes at least, in large pages if it is worth it.
package func allocateLarge(_ count: Int) -> UnsafeMutableRawBufferPointer {
  let isLarge = count >= 2 * largePage
  let size = isLarge ? (count + largePage - 1) & ~(largePage - 1) : count
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: isLarge ? largePage : 64)
  if isLarge { preferLargePages(buffer.baseAddress!, size) }
  return buffer
}

/// Zeros that the system hands out page by page, a small one each, when they are written, to be given back by
/// `unmapPages`; nil where it does not have so many addresses.
func mapPages(_ count: Int) -> UnsafeMutableRawBufferPointer? {
  let flags = MAP_PRIVATE | MAP_ANON | MAP_NORESERVE
  guard let start = mmap(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else { return nil }
  #if canImport(Glibc)
    // A system that prefers large pages would hand out all of a sparse memory at its first use.
    madvise(start, count, MADV_NOHUGEPAGE)
  #endif
  return UnsafeMutableRawBufferPointer(start: start, count: count)
}

func unmapPages(_ memory: UnsafeMutableRawBufferPointer) { munmap(memory.baseAddress, memory.count) }

private let largePage = 2 << 20

/// A page of 4 KB is a few hundred nanoseconds of work for the processor, and for a virtual machine's twice that.
/// Advice only: a system without large pages goes on as before.
private func preferLargePages(_ start: UnsafeMutableRawPointer, _ count: Int) {
  #if canImport(Glibc)
    if count >= largePage { madvise(start, count, MADV_HUGEPAGE) }
  #endif
}
