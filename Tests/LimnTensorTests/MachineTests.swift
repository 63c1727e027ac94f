import Foundation
import Testing

import LimnCore
import LimnTensor

@Suite struct MachineTests {
  @Test("an instruction set that is unknown, or missing on this machine, is refused by name")
  func instructionSets() throws {
    #expect(throws: LimnError.self) { try ISA.named("avx1024") }
    for isa in ISA.allCases where !isa.isSupported {
      #expect { try ISA.named(isa.rawValue) } throws: { ($0 as? LimnError)?.kind == .unavailable }
      #expect { try CPU(isa: isa) } throws: { ($0 as? LimnError)?.kind == .unavailable }
    }
    #expect(try ISA.named("scalar") == .scalar)
    #expect(try CPU(threads: 1, isa: ISA.best).isa == ISA.best)
  }

  @Test("the machine's ceilings can be measured with every instruction set", arguments: isas)
  func ceilings(isa: ISA) throws {
    let ceilings = try CPU(threads: 2, isa: isa).measureCeilings()
    for value in [ceilings.readGBs, ceilings.bf16GFlops, ceilings.int8GOps] {
      #expect(value > 0 && value.isFinite)
    }
  }

  @Test("a container's CPU limit is found in its cgroup and in the parent cgroups")
  func containerLimits() throws {
    let root = FileManager.default.temporaryDirectory.appending(path: "limn-\(UUID())")
    defer { try? FileManager.default.removeItem(at: root) }
    func write(_ text: String, _ path: String) throws {
      let file = root.appending(path: path)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    func limit(_ groups: String) -> Int? { Machine.processorLimit(groups: groups, root: root.path) }

    #expect(limit("0::/") == nil)
    try write("max 100000\n", "cpu.max")
    #expect(limit("0::/") == nil)
    try write("150000 100000\n", "outer/cpu.max")
    try write("400000 100000\n", "outer/inner/cpu.max")
    #expect(limit("0::/outer/inner") == 2)
    try write("-1\n", "cpu/cpu.cfs_quota_us")
    try write("100000\n", "cpu/cpu.cfs_period_us")
    try write("50000\n", "cpu/box/cpu.cfs_quota_us")
    try write("100000\n", "cpu/box/cpu.cfs_period_us")
    #expect(limit("3:memory:/outer/inner\n1:cpu,cpuacct:/") == nil)
    #expect(limit("1:cpu,cpuacct:/box") == 1)
    #expect(Machine.defaultThreads >= 1)
  }
}
