internal import CLimnKernels
internal import Synchronization

internal import CLimnSystem
import LimnCore

/// A kernel of CLimnKernels: computes items begin..<end of a job, using scratch memory that belongs to its thread.
package typealias Kernel = @convention(c) (UnsafeRawPointer?, Int, Int, UnsafeMutableRawPointer?) -> Void

/// Threads that share the items of one job after another. The calling thread works too.
///
/// Each thread has a share of the items and computes them in order, so that what a kernel prefetches during one item is
/// what the thread needs for the next. A thread that has finished its share steals pieces from the end of another's. So
/// a slow core computes fewer items, and nobody waits for a worker that starts late because its core was busy.
///
/// In a forward pass the next job follows at once, so after a job the workers spin for some tens of microseconds before
/// they sleep. One caller at a time runs jobs, inside `exclusively`. Running a job allocates nothing.
package final class ThreadPool: Sendable {
  let threads: Int
  private let shared: Shared

  package init(threads: Int) {
    precondition(threads > 0)
    self.threads = threads
    shared = Shared(threads: threads)
    shared.start()
  }

  deinit { shared.stop() }

  /// Runs `body` while no other caller has the pool.
  package func exclusively<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(shared.callers)
    defer { pthread_mutex_unlock(shared.callers) }
    return body()
  }

  /// Runs a kernel over `count` items in pieces of `grain`, giving each thread `scratch` bytes; returns when all items
  /// are done. Call it only inside `exclusively`.
  package func run(_ kernel: Kernel, _ job: UnsafeRawPointer, count: Int, grain: Int = 1, scratch: Int = 0) {
    shared.run(kernel, job, count: count, grain: max(1, grain), scratch: scratch)
  }
}

/// The state that the workers keep alive.
// @unchecked: the fields of the job are written by the one caller while no worker has joined, and read by workers after
// they joined; `state` orders the two. The mutexes and the condition are made to be shared.
private final class Shared: @unchecked Sendable {
  let callers = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let sleep = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let handles: UnsafeMutablePointer<pthread_t?>
  private let threads: Int
  /// 1 while the job can be joined, plus 2 for every worker that has joined.
  private let state = Atomic<Int>(0)
  /// The job's number, by which workers notice a new job.
  private let generation = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let shares: Shares

  private var kernel: Kernel?
  private var job: UnsafeRawPointer?
  private var count = 0
  private var grain = 1
  private let scratch: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private var scratchBytes = 0

  init(threads: Int) {
    self.threads = threads
    shares = Shares(threads: threads)
    pthread_mutex_init(callers, nil)
    pthread_mutex_init(sleep, nil)
    pthread_cond_init(wake, nil)
    handles = .allocate(capacity: threads)
    handles.initialize(repeating: nil, count: threads)
    scratch = .allocate(capacity: threads)
    scratch.initialize(repeating: nil, count: threads)
  }

  deinit {
    for thread in 0..<threads { scratch[thread]?.deallocate() }
    scratch.deallocate()
    handles.deallocate()
    pthread_cond_destroy(wake)
    pthread_mutex_destroy(sleep)
    pthread_mutex_destroy(callers)
    wake.deallocate()
    sleep.deallocate()
    callers.deallocate()
  }

  /// If the system refuses a thread, the others do its share.
  func start() {
    for thread in 1..<max(1, threads) { handles[thread] = startThread(Start(shared: self, thread: thread)) }
  }

  static func enter(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().run()
    return nil
  }

  func stop() {
    stopping.store(true, ordering: .sequentiallyConsistent)
    announce()
    for thread in 1..<max(1, threads) {
      if let handle = handles[thread] { pthread_join(handle, nil) }
    }
  }

  private func announce() {
    generation.add(1, ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
      pthread_mutex_lock(sleep)
      pthread_cond_broadcast(wake)
      pthread_mutex_unlock(sleep)
    }
  }

  func run(_ kernel: Kernel, _ job: UnsafeRawPointer, count: Int, grain: Int, scratch bytes: Int) {
    if bytes > scratchBytes { growScratch(to: bytes) }
    if threads == 1 || count <= grain {
      kernel(job, 0, count, scratch[0])
      return
    }
    self.kernel = kernel
    self.job = job
    self.count = count
    self.grain = grain
    shares.deal((count + grain - 1) / grain)
    state.store(1, ordering: .releasing)
    announce()
    work(thread: 0)
    state.subtract(1, ordering: .acquiringAndReleasing)
    var spins = 0
    while state.load(ordering: .acquiring) != 0 {
      spins += 1
      if spins < 20_000 { limn_pause() } else { sched_yield() }
    }
  }

  private func growScratch(to bytes: Int) {
    scratchBytes = (bytes + 4095) & ~4095
    for thread in 0..<threads {
      scratch[thread]?.deallocate()
      scratch[thread] = allocateLarge(scratchBytes).baseAddress
    }
  }

  private func work(thread: Int) {
    while let piece = shares.take(thread: thread) {
      kernel!(job, piece * grain, min((piece + 1) * grain, count), scratch[thread])
    }
  }

  /// Joins the job unless it is over; returns whether it joined.
  private func join() -> Bool {
    var seen = state.load(ordering: .relaxed)
    while seen & 1 == 1 {
      let (joined, now) = state.compareExchange(
        expected: seen, desired: seen + 2, ordering: .acquiringAndReleasing)
      if joined { return true }
      seen = now
    }
    return false
  }

  func serve(thread: Int) {
    var seen = 0
    while true {
      seen = waitForJob(after: seen)
      if stopping.load(ordering: .acquiring) { return }
      if join() {
        work(thread: thread)
        state.subtract(2, ordering: .releasing)
      }
    }
  }

  private func waitForJob(after seen: Int) -> Int {
    for _ in 0..<4_000 {
      let now = generation.load(ordering: .acquiring)
      if now != seen { return now }
      limn_pause()
    }
    pthread_mutex_lock(sleep)
    defer { pthread_mutex_unlock(sleep) }
    sleepers.add(1, ordering: .sequentiallyConsistent)
    defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
    while true {
      let now = generation.load(ordering: .sequentiallyConsistent)
      if now != seen { return now }
      pthread_cond_wait(wake, sleep)
    }
  }
}

/// The pieces of a job that no thread has begun: a range per thread.
private struct Shares: ~Copyable {
  private let threads: Int
  /// The range's begin in the lower half, its end in the upper. Ranges are 128 bytes apart, so that no two share a
  /// cache line or a pair of adjacent lines.
  private let ranges: UnsafeMutablePointer<Atomic<UInt64>>
  private static let stride = 16

  init(threads: Int) {
    self.threads = threads
    ranges = .allocate(capacity: threads * Self.stride)
    for i in 0..<threads * Self.stride { (ranges + i).initialize(to: Atomic(0)) }
  }

  deinit {
    ranges.deinitialize(count: threads * Self.stride)
    ranges.deallocate()
  }

  /// Splits pieces 0..<count into equal consecutive parts. No thread may take pieces meanwhile.
  func deal(_ count: Int) {
    precondition(count <= UInt32.max)
    for thread in 0..<threads {
      let (begin, end) = (count * thread / threads, count * (thread + 1) / threads)
      ranges[thread * Self.stride].store(UInt64(end) << 32 | UInt64(begin), ordering: .relaxed)
    }
  }

  /// The first piece of the thread's own share, or else the last piece of another's; nil when none is left.
  func take(thread: Int) -> Int? {
    for other in 0..<threads {
      let owner = (thread + other) % threads
      if let piece = take(from: ranges + owner * Self.stride, first: owner == thread) { return piece }
    }
    return nil
  }

  private func take(from range: UnsafeMutablePointer<Atomic<UInt64>>, first: Bool) -> Int? {
    var seen = range.pointee.load(ordering: .relaxed)
    while true {
      let (begin, end) = (seen & UInt64(UInt32.max), seen >> 32)
      if begin >= end { return nil }
      let left = first ? seen + 1 : seen - (1 << 32)
      let (taken, now) = range.pointee.compareExchange(expected: seen, desired: left, ordering: .relaxed)
      if taken { return Int(first ? begin : end - 1) }
      seen = now
    }
  }
}

/// What a new thread receives; the thread takes over the reference.
private final class Start: Sendable {
  let shared: Shared
  let thread: Int

  init(shared: Shared, thread: Int) {
    self.shared = shared
    self.thread = thread
  }

  func run() { shared.serve(thread: thread) }
}

/// pthread_create, whose types differ between systems; nil when the system refuses another thread.
private func startThread(_ start: Start) -> pthread_t? {
  let argument = Unmanaged.passRetained(start)
  #if canImport(Darwin)
    var handle: pthread_t?
  #else
    var handle = pthread_t()
  #endif
  if limn_start_thread(&handle, { Shared.enter($0) }, argument.toOpaque()) { return handle }
  argument.release()
  return nil
}
