import ArgumentParser

@main
struct LimnCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "limn")
}
