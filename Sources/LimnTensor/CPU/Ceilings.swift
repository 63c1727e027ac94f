internal import CLimnKernels
internal import CLimnSystem

/// The most that the machine can do with all threads: the ceiling that measured speeds are compared with.
package struct Ceilings: Sendable {
  /// Bytes read from memory, in 10⁹ per second.
  package var readGBs = 0.0
  /// Multiply-adds of bfloat16 numbers, in 10⁹ per second. Without instructions for them: of 16-bit integers with AVX2
  /// or VNNI, else of float32.
  package var bf16GFlops = 0.0
  /// Multiply-adds of 8-bit integers, in 10⁹ per second; of float32 where the machine has no instructions for them.
  package var int8GOps = 0.0

  package init() {}
}

extension CPU {
  /// Takes about half a second for each figure. Meanwhile it uses 256 MB of memory or four times the last-level cache,
  /// whichever is more, so that reads really come from memory; but never more than a gigabyte.
  /// - Parameter isRough: a fraction of that time, and 256 MB in any case.
  package func measureCeilings(isRough: Bool = false) -> Ceilings {
    let rounds = isRough ? 1 : 3
    let duration = Duration.milliseconds(isRough ? 40 : 150)
    func rate(_ kernel: Kernel, _ job: UnsafeRawPointer, items: Int, of units: Double) -> Double {
      (0..<rounds).reduce(0) { best, _ in
        max(best, self.rate(kernel, job, items: items, of: units, for: duration))
      }
    }
    let items = 256
    let readItems = isRough ? items : max(items, min(1024, 4 * limn_last_cache_bytes() / LIMN_READ_ITEM))
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: readItems * LIMN_READ_ITEM, alignment: 4096)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 1)
    var one: Float = 1
    var found = Ceilings()
    withUnsafeBytes(of: &one) { one in
      found.readGBs = rate(kernels.read, memory.baseAddress!, items: readItems, of: Double(LIMN_READ_ITEM))
      found.bf16GFlops = rate(kernels.multiply_16, one.baseAddress!, items: items, of: kernels.operations_16)
      found.int8GOps = rate(kernels.multiply_8, one.baseAddress!, items: items, of: kernels.operations_8)
    }
    return found
  }

  /// In 10⁹ units per second. A round takes as long as a step of a large model, so that other load on the machine counts
  /// here as it does there.
  private func rate(
    _ kernel: Kernel, _ job: UnsafeRawPointer, items: Int, of units: Double, for duration: Duration
  ) -> Double {
    let clock = ContinuousClock()
    let start = clock.now
    var passes = 0.0
    repeat {
      pool.exclusively { pool.run(kernel, job, count: items, grain: 4, scratch: LIMN_MEASURE_SCRATCH) }
      passes += 1
    } while clock.now - start < duration
    return passes * Double(items) * units / ((clock.now - start) / .seconds(1)) / 1e9
  }
}
