import ArgumentParser

/// Shows every stage between a file and an answer, in forms that can be compared with references.
struct Debug: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Inspect the stages between a picture and an answer.",
    subcommands: [
      DebugTokenize.self, DebugDetokenize.self, DebugTemplate.self, DebugPreprocess.self, DebugEmbed.self,
      DebugLogits.self, DebugAttention.self, DebugTensors.self,
    ])
}
