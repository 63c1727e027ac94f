import Foundation
import Synchronization
import Testing

import LimnTensor

@Suite struct ThreadPoolTests {
  @Test("every item of every job runs exactly once on any number of threads", arguments: [1, 2, 5])
  func everyItemOnce(threads: Int) {
    let pool = ThreadPool(threads: threads)
    for count in [0, 1, 7, 1000] {
      for grain in [1, 3, 100] {
        for _ in 0..<20 {
          var done = [Int32](repeating: 0, count: count + 1)
          done.withUnsafeMutableBytes { bytes in
            pool.exclusively {
              pool.run(
                { job, begin, end, _ in
                  let done = UnsafeMutableRawPointer(mutating: job!).assumingMemoryBound(to: Int32.self)
                  for i in begin..<end { done[i] += 1 }
                }, bytes.baseAddress!, count: count, grain: grain)
            }
          }
          #expect(done == [Int32](repeating: 1, count: count) + [0])
        }
      }
    }
  }

  @Test("while one thread is blocked, the others do the rest of its share")
  func heldUp() {
    let pool = ThreadPool(threads: 3)
    let done = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: 1)
    done.initialize(to: Atomic(0))
    defer {
      done.deinitialize(count: 1)
      done.deallocate()
    }
    pool.exclusively {
      pool.run(
        { job, begin, _, _ in
          let done = UnsafeMutableRawPointer(mutating: job!).assumingMemoryBound(to: Atomic<Int>.self)
          let patience = Date().addingTimeInterval(20)
          while begin == 0, done.pointee.load(ordering: .acquiring) < 99, Date() < patience {
            Thread.sleep(forTimeInterval: 0.001)
          }
          // Item 0 counts only if it finished last.
          if begin > 0 || done.pointee.load(ordering: .acquiring) == 99 {
            done.pointee.add(1, ordering: .acquiringAndReleasing)
          }
        }, done, count: 100)
    }
    #expect(done.pointee.load(ordering: .acquiring) == 100)
  }

  @Test("each thread has its own scratch memory")
  func scratch() {
    let pool = ThreadPool(threads: 3)
    var results = [UInt8](repeating: 0, count: 300)
    results.withUnsafeMutableBytes { bytes in
      pool.exclusively {
        pool.run(
          { job, begin, end, scratch in
            let results = UnsafeMutableRawPointer(mutating: job!).assumingMemoryBound(to: UInt8.self)
            let own = scratch!.assumingMemoryBound(to: UInt8.self)
            for item in begin..<end {
              for i in 0..<5000 { own[i] = UInt8(item % 251) }
              results[item] = (0..<5000).allSatisfy { own[$0] == UInt8(item % 251) } ? 1 : 0
            }
          }, bytes.baseAddress!, count: 300, scratch: 5000)
      }
    }
    #expect(results.allSatisfy { $0 == 1 })
  }

  @Test("callers on several threads take turns")
  func manyCallers() async throws {
    let cpu = try CPU(threads: 2, precision: .exact)
    let layer = Linear(weight: Matrix(randomWeight(.f32, rows: 40, columns: 64, seed: 1)))
    let inputs = Random(3).copyFloats(64)
    let expected = Rows(rows: 1, width: 40)
    cpu.linear(Rows(inputs, width: 64).activations, layer, into: expected.activations, adding: false, phase: .prefill)
    let values = expected.values
    await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<8 {
        group.addTask {
          (0..<50).allSatisfy { _ in
            let y = Rows(rows: 1, width: 40)
            cpu.linear(Rows(inputs, width: 64).activations, layer, into: y.activations, adding: false, phase: .prefill)
            return y.values == values
          }
        }
      }
      for await same in group { #expect(same) }
    }
  }
}
