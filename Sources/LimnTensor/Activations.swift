import LimnCore

/// Rows of float32 activations: [rows, width], row-major and contiguous.
///
/// A view without ownership: a `Scratch` (or a caller's buffer) owns the memory and outlives it. The engine
/// never stores one beyond a forward pass.
package struct Activations {
  package let pointer: UnsafeMutablePointer<Float>
  package let rows: Int
  package let width: Int

  package init(pointer: UnsafeMutablePointer<Float>, rows: Int, width: Int) {
    self.pointer = pointer
    self.rows = rows
    self.width = width
  }

  /// Some of the rows, in place.
  package func rows(_ range: Range<Int>) -> Activations {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Activations(pointer: pointer + range.lowerBound * width, rows: range.count, width: width)
  }

  /// Takes over the values of as many rows of the same width.
  package func copy(_ other: Activations) {
    precondition(rows == other.rows && width == other.width)
    pointer.update(from: other.pointer, count: rows * width)
  }

  /// The same memory with another width: [rows · width / newWidth, newWidth].
  package func reshaped(width newWidth: Int) -> Activations {
    precondition(rows * width % newWidth == 0)
    return Activations(pointer: pointer, rows: rows * width / newWidth, width: newWidth)
  }
}

/// The working memory of forward passes: a stack of activations.
///
/// It grows while the first pass finds out how much it needs; from the second pass of the same size on,
/// nothing is allocated any more.
// Not Sendable: one engine owns it, and one step at a time uses it.
package final class Scratch {
  private var blocks: [UnsafeMutableBufferPointer<Float>] = []
  private var current = 0
  private var used = 0

  package init() {}

  deinit { for block in blocks { block.deallocate() } }

  /// Uninitialised rows, aligned to 64 bytes, valid until the enclosing `frame` ends.
  package func take(rows: Int, width: Int) -> Activations {
    let count = (rows * width + 15) & ~15
    while current < blocks.count, used + count > blocks[current].count {
      current += 1
      used = 0
    }
    if current == blocks.count {
      let size = max(count, 1 << 16, (blocks.last?.count ?? 0) * 2)
      blocks.append(allocateLarge(size * 4).bindMemory(to: Float.self))
    }
    let pointer = blocks[current].baseAddress! + used
    used += count
    return Activations(pointer: pointer, rows: rows, width: width)
  }

  /// Runs `body`, then forgets all that it took.
  package func frame<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let mark = (current, used)
    defer { (current, used) = mark }
    return try body()
  }
}
