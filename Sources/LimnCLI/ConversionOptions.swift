import ArgumentParser
import Foundation
import Limn
import LimnTensor

/// Options of both `quantize` and `convert`.
struct ConversionOptions: ParsableArguments {
  @OptionGroup(title: "Model options") var source: SourceArguments
  @OptionGroup var quiet: Quietness

  @Flag(help: "Replace existing files, and remove those that would be mistaken for part of the result.")
  var force = false

  /// Writes the files, with progress; Ctrl-C removes incomplete files.
  func run(_ conversion: Conversion) async throws -> [Conversion.Report] {
    let start = ContinuousClock.now
    let options = self
    let reports = try await interruptible {
      let encoder = try WeightEncoder(threads: options.source.threads)
      return try conversion.run(encoder, replaces: options.force) { share, tensor in
        Terminal.progress(share, tensor)
      }
    }
    Terminal.endProgress()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    for note in conversion.notes { Terminal.note("limn: \(note)") }
    for path in conversion.paths { Terminal.print(path) }
    Terminal.note(String(format: "%@ in %.1f s", Self.size(conversion.byteCount), seconds))
    return reports
  }

  static func size(_ bytes: Int) -> String {
    bytes < 100_000_000
      ? String(format: "%.1f MB", Double(bytes) / 1e6) : String(format: "%.2f GB", Double(bytes) / 1e9)
  }
}
