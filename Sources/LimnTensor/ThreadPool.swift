internal import CLimnKernels
internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A kernel of CLimnKernels: does items begin..<end of a job, with scratch memory of its thread.
package typealias Kernel = @convention(c) (UnsafeRawPointer?, Int, Int, UnsafeMutableRawPointer?) -> Void

/// Threads that share the items of one job after another. The calling thread works too.
///
/// Items are handed out in small ranges, so that a slow core takes fewer of them. After a job the workers
/// spin for some tens of microseconds, since in a forward pass the next job follows at once, and then sleep.
/// A worker that comes late (the core was busy with something else) is not waited for: the others do its
/// items. One caller at a time runs jobs, inside `exclusively`. Running a job allocates nothing.
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

  /// Runs a kernel over `count` items in ranges of `grain`, each thread with `scratch` bytes; returns when
  /// all are done. Only inside `exclusively`.
  package func run(_ kernel: Kernel, _ job: UnsafeRawPointer, count: Int, grain: Int = 1, scratch: Int = 0) {
    shared.run(kernel, job, count: count, grain: max(1, grain), scratch: scratch)
  }
}

/// What the workers keep alive.
// @unchecked: the fields of the job are written by the one caller while no worker has joined, and read by
// workers after they joined; `state` orders the two. The mutexes and the condition are made for sharing.
private final class Shared: @unchecked Sendable {
  let callers = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let sleep = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let handles: UnsafeMutablePointer<pthread_t?>
  private let threads: Int
  /// 1 while the job can be joined, plus 2 for every worker that has joined.
  private let state = Atomic<Int>(0)
  /// Counts jobs, so that workers notice a new one.
  private let generation = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  /// The next item to hand out.
  private let next = Atomic<Int>(0)

  private var kernel: Kernel?
  private var job: UnsafeRawPointer?
  private var count = 0
  private var grain = 1
  private let scratch: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private var scratchBytes = 0

  init(threads: Int) {
    self.threads = threads
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

  /// Without a thread that the system refuses, the others do its share.
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
    next.store(0, ordering: .relaxed)
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
    while true {
      let begin = next.add(grain, ordering: .relaxed).oldValue
      if begin >= count { return }
      kernel!(job, begin, min(begin + grain, count), scratch[thread])
    }
  }

  /// Joins the job, unless it is over; true if it did.
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

/// What a new thread is told; it takes over the reference.
private final class Start: Sendable {
  let shared: Shared
  let thread: Int

  init(shared: Shared, thread: Int) {
    self.shared = shared
    self.thread = thread
  }

  func run() { shared.serve(thread: thread) }
}

/// pthread_create, whose types differ between the systems; nil where there are no more threads to be had.
private func startThread(_ start: Start) -> pthread_t? {
  let argument = Unmanaged.passRetained(start)
  #if canImport(Glibc)
    var handle = pthread_t()
    let failure = pthread_create(&handle, nil, { Shared.enter($0!) }, argument.toOpaque())
  #else
    var handle: pthread_t?
    let failure = pthread_create(&handle, nil, { Shared.enter($0) }, argument.toOpaque())
  #endif
  if failure == 0 { return handle }
  argument.release()
  return nil
}
