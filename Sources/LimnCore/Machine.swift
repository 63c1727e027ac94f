internal import CLimnSystem

/// What this computer offers the engine.
package enum Machine {
  /// Bytes of memory; 0 if the system does not say.
  package static var memory: Int { Int(limn_physical_memory()) }

  /// Default size of the memory for keys and values, in bytes: a quarter of the machine's memory, but at least 1 GiB.
  package static let usualCacheBytes = max(1 << 30, memory / 4)

  /// How many threads are worth using: the physical cores that this process may run on, or fewer if a container limits
  /// processor time (cgroup v2 or v1).
  package static let defaultThreads: Int = {
    #if os(Linux)
      var cores: Set<String> = []
      for processor in allowedProcessors() {
        let siblings = "/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list"
        cores.insert(text(of: siblings) ?? "processor \(processor)")
      }
      let limit = processorLimit(groups: text(of: "/proc/self/cgroup") ?? "", root: "/sys/fs/cgroup")
      return max(1, min(cores.count, limit ?? cores.count))
    #else
      return Int(limn_processor_count())
    #endif
  }()

  #if os(Linux)
    private static func allowedProcessors() -> [Int] {
      var allowed = [UInt8](repeating: 0, count: 4096)
      let count = limn_allowed_processors(&allowed, allowed.count)
      return count > 0 ? (0..<allowed.count).filter { allowed[$0] != 0 } : [0]
    }

    /// The number of whole processors that this process's cgroups, and the cgroups around them, allow; nil: no limit.
    ///
    /// - Parameter groups: the lines of /proc/self/cgroup, "hierarchy:controllers:path".
    package static func processorLimit(groups: String, root: String) -> Int? {
      var limit: Int?
      for line in groups.split(separator: "\n") {
        let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { continue }
        let isUnified = fields[1].isEmpty
        guard isUnified || fields[1].split(separator: ",").contains("cpu") else { continue }
        var path = fields[2].split(separator: "/")
        while true {
          let folder = ([isUnified ? root : root + "/cpu"] + path.map(String.init)).joined(separator: "/")
          let numbers =
            isUnified
            ? text(of: folder + "/cpu.max")?.split(separator: " ").map { Double($0) }
            : [text(of: folder + "/cpu.cfs_quota_us"), text(of: folder + "/cpu.cfs_period_us")]
              .map { $0.flatMap(Double.init) }
          if let numbers, numbers.count == 2, let quota = numbers[0], let period = numbers[1], quota > 0,
            period > 0
          {
            limit = min(limit ?? .max, max(1, Int((quota / period).rounded(.up))))
          }
          if path.popLast() == nil { break }
        }
      }
      return limit
    }

    /// A small file of the system, without its final newline.
    private static func text(of path: String) -> String? {
      guard let file = fopen(path, "re") else { return nil }
      defer { fclose(file) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = fread(&bytes, 1, bytes.count, file)
      guard count > 0 else { return nil }
      let end = bytes[count - 1] == UInt8(ascii: "\n") ? count - 1 : count
      return String(decoding: bytes[..<end], as: UTF8.self)
    }
  #endif
}
