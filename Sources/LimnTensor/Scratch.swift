/// The working memory of forward passes: a stack of activations in a backend's memory.
///
/// It grows while the first pass shows how much it needs; later passes of the same size allocate nothing.
// Not Sendable: one pass at a time uses it.
package final class Scratch {
  private let backend: any Backend
  private var blocks: [Allocation] = []
  private var current = 0
  private var used = 0

  package init(_ backend: any Backend) { self.backend = backend }

  /// Size of the blocks, in bytes.
  package var byteCount: Int { blocks.reduce(0) { $0 + $1.byteCount } }

  /// Uninitialised rows, aligned to 64 bytes, valid until the enclosing `frame` ends.
  package func take(rows: Int, width: Int) -> Activations {
    let bytes = (rows * width * 4 + 63) & ~63
    while current < blocks.count, used + bytes > blocks[current].byteCount {
      current += 1
      used = 0
    }
    if current == blocks.count {
      blocks.append(backend.scratch(bytes: max(bytes, 1 << 18, (blocks.last?.byteCount ?? 0) * 2)))
    }
    defer { used += bytes }
    return Activations(blocks[current].address + used, rows: rows, width: width)
  }

  /// Runs `body`, then releases everything that it took.
  package func frame<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let mark = (current, used)
    defer { (current, used) = mark }
    return try body()
  }

  /// Releases everything that was taken.
  package func reset() { (current, used) = (0, 0) }
}
