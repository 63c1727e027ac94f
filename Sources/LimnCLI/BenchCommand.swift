import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnHub
import LimnImage
import LimnCore
import LimnTensor

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a model on this machine: opening, looking, reading, answering.",
    discussion: """
      Everything is measured once in each repetition, beginning with a fresh opening of the model; medians count.
      What the machine can do is measured at the end of each, since it changes where others use it, too.
      The first word's time is the start of this process, until the command runs, plus the opening and the
      answering of that repetition. Nothing is guessed ahead but with --quoting.
      """)

  @OptionGroup var load: LoadArguments

  @Option(help: ArgumentHelp("Length of the text prompt.", valueName: "n")) var promptTokens = 512
  @Option(help: ArgumentHelp("Length of the answer.", valueName: "n")) var genTokens = 64
  @Option(
    help: ArgumentHelp("Tokens that come before the answer; default: the text prompt's.", valueName: "n"))
  var depth: Int?
  @Option(help: ArgumentHelp("Also measure so many answers at the same time.", valueName: "n")) var parallel =
    1
  @Flag(help: "Also measure an answer that quotes the prompt, four words of five, guessed ahead.")
  var quoting = false
  @Flag(help: "Also measure how an answer keeps its pace while a prompt of --prompt-tokens or a picture is read.")
  var pace = false
  @Option(help: ArgumentHelp("The picture; default: a drawn one.", valueName: "file")) var image: String?
  @Option(help: ArgumentHelp("How often everything is measured; medians count.", valueName: "n"))
  var repetitions = 3
  @Flag(help: "As JSON.") var json = false

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    let limit = 1 << 20
    try require((1...limit).contains(promptTokens), "--prompt-tokens must be 1 or more.")
    try require((2...limit).contains(genTokens), "--gen-tokens must be 2 or more.")
    try require((1...limit).contains(depth ?? 1), "--depth must be 1 or more.")
    try require((1...64).contains(parallel), "--parallel must be between 1 and 64.")
    try require(repetitions > 0, "--repetitions must be 1 or more.")
  }

  func run() async throws {
    let startUp = Process.millisecondsSinceStart
    // Apart from the repetitions, whose times are not to hold it; what an adapter adds changes no config.
    let location = try load.location
    let parts = try ModelParts(location, steps: [.files])
    let config = try parts.require(parts.checkpoint).config
    guard image == nil || config.vision != nil else {
      throw LimnError(
        .usage, "--image goes with a model that looks at pictures", in: location.model, found: "no vision tower",
        remedy: "leave --image out, name a LLaVA checkpoint, or for a GGUF its projector file with --mmproj")
    }
    let pictures = try await config.vision == nil ? [] : [picture()]
    let options = loadOptions(for: config.language)
    let cpu = try CPU(threads: options.threads, precision: options.precision)
    var rounds: [BenchRound] = []
    var peak = 0
    for index in 0..<repetitions {
      Terminal.progress("measuring, round \(index + 1) of \(repetitions)")
      rounds.append(
        try await interruptible { try await measure(pictures, options, on: cpu, startUp: startUp) })
      // Measuring the machine takes memory of its own.
      if index == 0 { peak = peakMemory() }
      Terminal.progress("measuring the machine")
      rounds[index].machine = cpu.measureCeilings()
    }
    Terminal.endProgress()
    let report = BenchReport(
      threads: cpu.threads, isa: cpu.isa, rounds: rounds, promptTokens: promptTokens, depth: depth ?? promptTokens,
      parallel: parallel, peakMemory: peak)
    Terminal.print(json ? report.json.serialised() : report.table)
  }

  /// What is looked at; read once, since standard input is empty in the next repetition.
  private func picture() async throws -> ImageSource {
    guard let image else { return .pixels(Self.drawnPicture()) }
    return try await ImageReference(image).source().settled()
  }

  /// How to open a model: with a longer context than it has by itself, where what is asked for needs one.
  private func loadOptions(for language: LanguageConfig) -> LoadOptions {
    var options = load.options
    options.maxSequences = pace ? max(8, parallel) : parallel
    let longest = max(promptTokens, depth ?? promptTokens)
    let needed = longest + genTokens + (parallel == 1 ? 0 : parallel * (1 + longest / 100))
    if options.context == nil, needed > min(language.maxPositions, 8192) { options.context = needed }
    return options
  }

  /// Everything once, from opening the model on.
  private func measure(
    _ pictures: [ImageSource], _ options: LoadOptions, on cpu: CPU, startUp: Double
  ) async throws -> BenchRound {
    var round = BenchRound()
    let start = ContinuousClock.now
    let vlm = try await VisionLanguageModel.load(load.reference, options: options)
    round.load = (ContinuousClock.now - start).milliseconds
    round.work = try BenchRound.Work(vlm, on: cpu, after: (depth ?? promptTokens) + genTokens / 2)

    let session = ChatSession(vlm)
    var generation = GenerationOptions()
    generation.maxTokens = 1
    let first = try await session.finish("Describe this picture.", pictures, generation)
    round.encode = first.timings.imageEncode
    round.firstToken = startUp + round.load + first.timings.firstToken
    let second = try await session.finish("What is in the middle?", [], generation)
    round.secondQuestion = second.timings.firstToken
    await vlm.engine.forget()

    let text = try await vlm.measureText(promptTokens: promptTokens, genTokens: depth == nil ? genTokens : 1)
    round.promptPerSecond = text.promptPerSecond
    round.predictedPerSecond = text.predictedPerSecond
    if let depth {
      round.predictedPerSecond = try await vlm.measureText(promptTokens: depth, genTokens: genTokens)
        .predictedPerSecond
    }
    if parallel > 1 {
      round.parallelPerSecond = try await vlm.measureText(
        promptTokens: depth ?? promptTokens, genTokens: genTokens, sequences: parallel
      ).predictedPerSecond
    }
    if quoting {
      round.quotingPerSecond = try await vlm.measureText(
        promptTokens: depth ?? promptTokens, genTokens: genTokens, quoting: true
      ).predictedPerSecond
    }
    if pace, !pictures.isEmpty {
      await vlm.engine.forget()
      let images = try (0..<3).map { try vlm.processor.process(Self.drawnPicture(phase: $0 + 1)) }
      round.pace = try await vlm.measurePace(promptTokens: promptTokens, images: images)
    }
    return round
  }

  /// A picture with something everywhere: coloured waves.
  private static func drawnPicture(phase: Int = 0) -> RGBImage {
    let side = 512
    var pixels = [UInt8](repeating: 0, count: 3 * side * side)
    for y in 0..<side {
      for x in 0..<side {
        for c in 0..<3 {
          let wave = sin(Double(x + phase) / Double(9 + 5 * c)) * cos(Double(y) / Double(13 + 4 * c))
          pixels[(y * side + x) * 3 + c] = UInt8(127.5 + 127 * wave)
        }
      }
    }
    return RGBImage(width: side, height: side, pixels: pixels)
  }
}

extension ChatSession {
  /// Says something and waits for the whole answer.
  fileprivate func finish(
    _ text: String, _ images: [ImageSource], _ options: GenerationOptions
  ) async throws -> Answer {
    for try await event in send(text, images: images, options: options) {
      if case .finished(let answer) = event { return answer }
    }
    throw LimnError(.interrupted, "stopped")
  }
}

extension Process {
  /// Since the system started this process: by its own record where it keeps one in the clock's units (Linux, to
  /// a hundredth of a second), else 0.
  fileprivate static var millisecondsSinceStart: Double {
    #if os(Linux)
      // Field 22 of proc(5)'s stat; the second one, the name in parentheses, may hold spaces.
      guard let stat = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
        let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 19,
        let ticks = Double(fields[19])
      else { return 0 }
      var now = timespec()
      clock_gettime(CLOCK_BOOTTIME, &now)
      let started = ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
      return max(0, Double(now.tv_sec) - started + Double(now.tv_nsec) * 1e-9) * 1000
    #else
      return 0
    #endif
  }
}
