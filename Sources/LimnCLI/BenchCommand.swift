import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnCore
import LimnTensor

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how fast a model opens, looks at a picture, reads and answers here.",
    discussion: """
      Each repetition opens the model afresh and measures everything once; the report shows medians.
      Each ends by measuring what the machine can do, which varies if others use it too.
      The time to the first word is what this process took to start, plus opening the model and
      answering in that repetition. Tokens are guessed ahead with --quoting only.
      """)

  @OptionGroup(title: "Model options") var load: LoadArguments

  @Option(help: ArgumentHelp("Length of the text prompt, in tokens.", valueName: "n")) var promptTokens = 512
  @Option(help: ArgumentHelp("Length of the answer, in tokens.", valueName: "n")) var genTokens = 64
  @Option(
    help: ArgumentHelp("Tokens before the answer; default: as many as --prompt-tokens.", valueName: "n"))
  var depth: Int?
  @Option(help: ArgumentHelp("Also measure this many answers at the same time.", valueName: "n")) var parallel =
    1
  @Flag(help: "Also measure an answer that quotes the prompt, four words of five, guessed ahead.")
  var quoting = false
  @Flag(help: "Also measure how an answer keeps its pace while a prompt of --prompt-tokens or a picture is read.")
  var pace = false
  @Option(help: ArgumentHelp("The picture; default: a drawn one.", valueName: "file"), completion: .file())
  var image: String?
  @Option(help: ArgumentHelp("How often everything is measured; medians count.", valueName: "n"))
  var repetitions = 3
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var quiet: Quietness

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
    // Outside the repetitions, so that their times do not include it. An adapter changes nothing in the config.
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
      // Measuring the machine takes memory of its own, so read the peak first.
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

  /// The image to look at. Read once, because standard input is empty in later repetitions.
  private func picture() async throws -> ImageSource {
    guard let image else { return .pixels(Self.drawnPicture()) }
    return try await load.pictures.source(image).settled()
  }

  /// Options for opening the model; they extend its context if the measurement needs a longer one.
  private func loadOptions(for language: LanguageConfig) -> LoadOptions {
    var options = load.options
    options.maxSequences = pace ? max(8, parallel) : parallel
    let longest = max(promptTokens, depth ?? promptTokens)
    let needed = longest + genTokens + (parallel == 1 ? 0 : parallel * (1 + longest / 100))
    if options.context == nil, needed > min(language.maxPositions, 8192) { options.context = needed }
    return options
  }

  /// Measures everything once, including opening the model.
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

  /// An image with detail everywhere: coloured waves.
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
  /// Sends a message and waits for the whole answer.
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
  /// Time since the system started this process. On Linux, which records the start in the clock's units, this is
  /// exact to a hundredth of a second; elsewhere 0.
  fileprivate static var millisecondsSinceStart: Double {
    #if os(Linux)
      // Field 22 of proc(5)'s stat. Field 2, the name in parentheses, may contain spaces.
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
