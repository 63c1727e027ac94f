import CLimnKernels
import Dispatch
package import LimnCore

// The CPU uses the process's own memory, so its addresses are pointers. Only CPU backends and their tests use these
// members.

extension Address {
  package init(_ pointer: UnsafeRawPointer) { self.init(UInt(bitPattern: pointer)) }

  package var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: value)! }
}

extension Activations {
  package init(pointer: UnsafeMutablePointer<Float>, rows: Int, width: Int) {
    self.init(Address(pointer), rows: rows, width: width)
  }

  package var pointer: UnsafeMutablePointer<Float> { address.pointer.assumingMemoryBound(to: Float.self) }
}

extension Matrix {
  /// A tensor's rows in place: nothing is copied.
  package init(_ tensor: Tensor) {
    let start = tensor.memory.bytes.baseAddress.map { Address($0) + tensor.range.lowerBound } ?? Address(0)
    self.init(tensor, at: start, owner: tensor.memory)
  }

  var start: UnsafeRawPointer { UnsafeRawPointer(address.pointer) }
}

extension Vector {
  package init(_ values: [Float]) {
    let memory = allocateLarge(max(64, values.count * 4))
    values.withUnsafeBytes { memory.copyMemory(from: $0) }
    let owner = Allocation(Address(UnsafeRawPointer(memory.baseAddress!)), byteCount: memory.count) { address, _ in
      address.pointer.deallocate()
    }
    self.init(owner.address, count: values.count, owner: owner)
  }

  package var values: UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(start: address.pointer.assumingMemoryBound(to: Float.self), count: count)
  }
}

extension CPU {
  package func scratch(bytes: Int) -> Allocation {
    let memory = allocateLarge(bytes)
    return Allocation(Address(UnsafeRawPointer(memory.baseAddress!)), byteCount: memory.count) { address, _ in
      address.pointer.deallocate()
    }
  }

  package func sparse(bytes: Int) throws(LimnError) -> Allocation {
    guard let memory = mapPages(bytes) else {
      throw LimnError(.unavailable, "the system has no such range of addresses", expected: "\(bytes) bytes")
    }
    return Allocation(Address(UnsafeRawPointer(memory.baseAddress!)), byteCount: bytes) { address, count in
      unmapPages(UnsafeMutableRawBufferPointer(start: address.pointer, count: count))
    }
  }

  package func place(_ tensor: Tensor) throws(LimnError) -> Matrix { Matrix(tensor) }

  package func place(_ values: [Float]) -> Vector { Vector(values) }

  package func write(_ values: UnsafeBufferPointer<Float>, to x: Activations) {
    precondition(values.count == x.count)
    if let start = values.baseAddress { x.pointer.update(from: start, count: values.count) }
  }

  package func read(_ x: Activations, into values: UnsafeMutableBufferPointer<Float>) {
    precondition(values.count == x.count)
    values.baseAddress?.update(from: x.pointer, count: x.count)
  }

  package func keys(of cache: KVCache, layer: Int, head: Int, positions: Int) -> [Float] {
    precondition(head < cache.kvHeads && positions <= cache.capacity)
    let start = cache.keys(layer: layer) + head * cache.headBytes
    let recipe = recipes[cache.storage.tensorType, LIMN_FLOAT32]!
    // Blocks are stored whole even when a head is shorter.
    var key = [Float](repeating: 0, count: (cache.headSize + 31) & ~31)
    let columns = cache.storage == .q8_0 ? key.count : cache.headSize
    var keys: [Float] = []
    keys.reserveCapacity(positions * cache.headSize)
    for position in 0..<positions {
      recipe.pointee.dequantize((start + position * cache.positionBytes).pointer, &key, Int32(columns))
      keys += key[..<cache.headSize]
    }
    return keys
  }

  package func copy(_ cache: KVCache, layer: Int, positions: Int, into other: KVCache) {
    precondition(cache.layers == other.layers && cache.kvHeads == other.kvHeads && cache.storage == other.storage)
    precondition(cache.headSize == other.headSize && positions <= min(cache.capacity, other.capacity))
    let bytes = positions * cache.positionBytes, (fromStride, toStride) = (cache.headBytes, other.headBytes)
    for (from, to) in [
      (cache.keys(layer: layer), other.keys(layer: layer)), (cache.values(layer: layer), other.values(layer: layer)),
    ] {
      // Most of the time goes into the pages that the system hands out on their first write: a thread each.
      DispatchQueue.concurrentPerform(iterations: cache.kvHeads) { head in
        (to + head * toStride).pointer.copyMemory(from: (from + head * fromStride).pointer, byteCount: bytes)
      }
    }
  }

  package func submit<Result>(_ body: () -> Result) -> Result { body() }

  package func copy(_ x: Activations, into y: Activations) {
    precondition(x.rows == y.rows && x.width == y.width)
    if x.count > 0 { y.pointer.update(from: x.pointer, count: x.count) }
  }

  package func copy(_ x: Activations, into y: Activations, column: Int) {
    precondition(x.rows == y.rows && column >= 0 && column + x.width <= y.width)
    for row in 0..<x.rows {
      (y.pointer + row * y.width + column).update(from: x.pointer + row * x.width, count: x.width)
    }
  }

  package func patches(_ pixels: UnsafeBufferPointer<Float>, side: Int, patch: Int, into y: Activations) {
    let perSide = side / patch
    precondition(pixels.count == 3 * side * side && y.rows == perSide * perSide && y.width == 3 * patch * patch)
    for row in 0..<perSide {
      for column in 0..<perSide {
        let target = y.pointer + (row * perSide + column) * y.width
        for channel in 0..<3 {
          for line in 0..<patch {
            let source = pixels.baseAddress! + (channel * side + row * patch + line) * side + column * patch
            (target + (channel * patch + line) * patch).update(from: source, count: patch)
          }
        }
      }
    }
  }
}
