/// A place in a backend's memory, in bytes: a pointer on the CPU, a device address on a GPU.
///
/// Only the backend that gave out an address may read or write there; everything else just does arithmetic on it.
package struct Address: Sendable, Hashable {
  package let value: UInt

  package init(_ value: UInt) { self.value = value }

  package static func + (start: Address, bytes: Int) -> Address { Address(start.value &+ UInt(bitPattern: bytes)) }
}

/// Memory of a backend, released with its last reference.
package final class Allocation: Sendable {
  package let address: Address
  package let byteCount: Int
  private let free: @Sendable (Address, Int) -> Void

  package init(_ address: Address, byteCount: Int, free: @escaping @Sendable (Address, Int) -> Void) {
    self.address = address
    self.byteCount = byteCount
    self.free = free
  }

  deinit { free(address, byteCount) }
}

/// Rows of float32 activations: [rows, width], row-major and contiguous, in a backend's memory.
///
/// A view that owns nothing: the memory belongs to a `Scratch` or an `Allocation`, which must outlive the view.
package struct Activations: Sendable {
  package let address: Address
  package let rows: Int
  package let width: Int

  package init(_ address: Address, rows: Int, width: Int) {
    self.address = address
    self.rows = rows
    self.width = width
  }

  /// The number of values.
  package var count: Int { rows * width }

  /// A range of the rows, in place.
  package func rows(_ range: Range<Int>) -> Activations {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Activations(address + range.lowerBound * width * 4, rows: range.count, width: width)
  }

  /// The same memory with another width: [rows · width / newWidth, newWidth].
  package func reshaped(width newWidth: Int) -> Activations {
    precondition(count % newWidth == 0)
    return Activations(address, rows: count / newWidth, width: newWidth)
  }
}
