import ArgumentParser
import Foundation
import Limn
import LimnFiles
import LimnImage
import LimnTensor

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a model on this machine: opening, looking, reading, answering.")

  @OptionGroup var model: ModelReference

  @Option(help: ArgumentHelp("Length of the text prompt.", valueName: "n")) var promptTokens = 512
  @Option(help: ArgumentHelp("Length of the answer.", valueName: "n")) var genTokens = 64
  @Option(help: ArgumentHelp("The picture; default: a drawn one.", valueName: "file")) var image: String?
  @Option(help: ArgumentHelp("How often everything is measured; medians count.", valueName: "n"))
  var repetitions = 3
  @OptionGroup var compute: ComputeOptions
  @Flag(help: "As JSON.") var json = false

  func validate() throws {
    guard promptTokens > 0, genTokens > 1, repetitions > 0 else {
      throw ValidationError("--prompt-tokens, --repetitions must be 1 or more, --gen-tokens 2 or more.")
    }
  }

  func run() async throws {
    let picture = try await image.map { try ImageSource($0) }?.image() ?? Self.drawnPicture()
    var rounds: [Round] = []
    for index in 0..<repetitions {
      Terminal.progress("measuring, round \(index + 1) of \(repetitions)")
      rounds.append(try await interruptible { try await measure(picture) })
    }
    // Measuring the machine takes memory of its own.
    let peak = peakMemory()
    Terminal.progress("measuring the machine")
    let cpu = try CPU(threads: compute.threads)
    let machine = cpu.measureCeilings()
    Terminal.endProgress()
    func median(_ value: (Round) -> Double) -> Double {
      let sorted = rounds.map(value).sorted()
      return sorted[sorted.count / 2].rounded(to: 3)
    }
    let promptTokens = rounds[0].promptTokens
    if json {
      let report: JSON = .object([
        "threads": .integer(cpu.threads), "isa": .string(cpu.isa.rawValue),
        "load_ms": .number(median(\.load)), "image_encode_ms": .number(median(\.encode)),
        "prompt_tokens": .integer(promptTokens),
        "prompt_per_second": .number(median(\.promptPerSecond)),
        "predicted_per_second": .number(median(\.predictedPerSecond)),
        "first_token_ms": .number(median(\.firstToken)),
        "second_question_ms": .number(median(\.secondQuestion)),
        "peak_rss_bytes": .integer(peak),
        "machine": .object([
          "read_gb_s": .number(machine.readGBs.rounded(to: 1)),
          "bf16_gflop_s": .number(machine.bf16GFlops.rounded(to: 0)),
          "int8_gop_s": .number(machine.int8GOps.rounded(to: 0)),
        ]),
      ])
      return Terminal.print(report.serialised())
    }
    func row(_ name: String, _ value: String) {
      Terminal.print(name.padding(toLength: 26, withPad: " ", startingAt: 0) + value)
    }
    row("threads, instructions", "\(cpu.threads), \(cpu.isa.rawValue)")
    row("open the model", median(\.load).duration)
    row("look at a picture", median(\.encode).duration)
    row("read \(promptTokens) tokens", "\(median(\.promptPerSecond).rounded(to: 1)) tokens/s")
    row("answer", "\(median(\.predictedPerSecond).rounded(to: 1)) tokens/s")
    row("first word on a picture", "\(median(\.firstToken).duration) after starting")
    row("second question on it", "\(median(\.secondQuestion).duration) to the first word")
    row("peak memory", "\(peak >> 20) MB")
    row(
      "this machine",
      "reads \(machine.readGBs.rounded(to: 1)) GB/s; \(Int(machine.bf16GFlops)) GFLOP/s in bf16, "
        + "\(Int(machine.int8GOps)) GOP/s in int8")
  }

  private struct Round {
    var load = 0.0
    var encode = 0.0
    var promptTokens = 0
    var promptPerSecond = 0.0
    var predictedPerSecond = 0.0
    var firstToken = 0.0
    var secondQuestion = 0.0
  }

  /// Everything once, from opening the model on.
  private func measure(_ picture: RGBImage) async throws -> Round {
    var round = Round()
    let start = ContinuousClock.now
    var options = LoadOptions()
    options.threads = compute.threads
    options.projectorFile = model.mmproj
    options.quantization = model.quantization
    let vlm = try await VisionLanguageModel.load(model.reference, options: options)
    round.load = (ContinuousClock.now - start).milliseconds

    if vlm.hasVision {
      let session = ChatSession(vlm)
      var generation = GenerationOptions()
      generation.maxTokens = 1
      let first = try await session.finish("Describe this picture.", [.pixels(picture)], generation)
      round.encode = first.timings.imageEncode
      round.firstToken = round.load + first.timings.firstToken
      let second = try await session.finish("What is in the middle?", [], generation)
      round.secondQuestion = second.timings.firstToken
    }
    let (prompt, perSecond, predicted) = try await vlm.measureText(
      promptTokens: promptTokens, genTokens: genTokens)
    (round.promptTokens, round.promptPerSecond, round.predictedPerSecond) = (prompt, perSecond, predicted)
    return round
  }

  /// A picture with something everywhere: coloured waves.
  private static func drawnPicture() -> RGBImage {
    let side = 512
    var pixels = [UInt8](repeating: 0, count: 3 * side * side)
    for y in 0..<side {
      for x in 0..<side {
        for c in 0..<3 {
          let wave = sin(Double(x) / Double(9 + 5 * c)) * cos(Double(y) / Double(13 + 4 * c))
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
