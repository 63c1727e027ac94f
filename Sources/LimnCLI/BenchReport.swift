import Foundation
import Limn
import LimnFiles
import LimnCore
import LimnTensor

/// The measurements of one repetition of `limn bench`; times in milliseconds, speeds in tokens per second.
struct BenchRound: Sendable {
  var load = 0.0
  /// 0 for a model without vision.
  var encode = 0.0
  var firstToken = 0.0
  var secondQuestion = 0.0
  var promptPerSecond = 0.0
  var predictedPerSecond = 0.0
  /// For all sequences that decoded at the same time.
  var parallelPerSecond = 0.0
  /// For an answer that quotes the prompt, with speculation; 0 if not measured.
  var quotingPerSecond = 0.0
  /// What an answer's pace is beside other work; nil where it was not measured.
  var pace: VisionLanguageModel.Pace?
  var work = Work()
  /// Measured right after everything else.
  var machine = Ceilings()

  /// The share of the machine's peak operations that prefill reaches, in the arithmetic that it uses.
  var prefillShare: Double {
    let ceiling = work.isInteger ? machine.int8GOps : machine.bf16GFlops
    return promptPerSecond * Double(work.operationsPerToken) / (ceiling * 1e9)
  }
  /// The share of the machine's peak memory bandwidth that decoding reaches.
  var decodeShare: Double { predictedPerSecond * Double(work.bytesPerStep) / (machine.readGBs * 1e9) }

  /// The work that the model asks of the machine.
  struct Work: Sendable {
    var bytesPerStep = 0
    var operationsPerToken = 0
    /// Whether prompts are multiplied as 8-bit integers, rather than in 16 bits.
    var isInteger = true
  }
}

extension BenchRound.Work {
  /// - Parameter positions: how many come before the decode steps, counted to the middle of them.
  init(_ vlm: VisionLanguageModel, on cpu: CPU, after positions: Int) throws(LimnError) {
    self.init(
      bytesPerStep: try vlm.bytesPerStep(after: positions), operationsPerToken: try vlm.operationsPerToken,
      isInteger: try vlm.readsInBytes(on: cpu))
  }
}

/// Formats the medians, for machines and for people.
struct BenchReport {
  let threads: Int
  let isa: ISA
  let rounds: [BenchRound]
  let promptTokens: Int
  let depth: Int
  let parallel: Int
  let peakMemory: Int

  private func median(_ value: (BenchRound) -> Double) -> Double {
    let sorted = rounds.map(value).sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  private var work: BenchRound.Work { rounds[0].work }
  private var looksAtPictures: Bool { median(\.encode) > 0 }
  /// The maximum over all repetitions: a ceiling is what the machine can do.
  private func most(_ ceiling: (Ceilings) -> Double) -> Double { rounds.map { ceiling($0.machine) }.max()! }

  var json: JSON {
    func number(_ value: (BenchRound) -> Double) -> JSON { .number(median(value).rounded(to: 3)) }
    var object = JSONObject()
    object.set("threads", to: .integer(threads))
    object.set("isa", to: .string(isa.rawValue))
    object.set("load_ms", to: number(\.load))
    if looksAtPictures { object.set("image_encode_ms", to: number(\.encode)) }
    object.set("prompt_tokens", to: .integer(promptTokens))
    object.set("prompt_per_second", to: number(\.promptPerSecond))
    object.set("predicted_per_second", to: number(\.predictedPerSecond))
    object.set("first_token_ms", to: number(\.firstToken))
    object.set("second_question_ms", to: number(\.secondQuestion))
    object.set("peak_rss_bytes", to: .integer(peakMemory))
    object.set("depth", to: .integer(depth))
    if parallel > 1 {
      object.set("parallel", to: .integer(parallel))
      object.set("parallel_predicted_per_second", to: number(\.parallelPerSecond))
    }
    if median(\.quotingPerSecond) > 0 {
      object.set("quoting_predicted_per_second", to: number(\.quotingPerSecond))
    }
    if rounds[0].pace != nil {
      func pace(_ value: @escaping (VisionLanguageModel.Pace) -> Double) -> JSON {
        number { value($0.pace ?? .init()) }
      }
      object.set(
        "pace",
        to: .object([
          "token_ms": pace(\.distance), "token_beside_prompt_p99_ms": pace(\.besidePrompt),
          "token_beside_picture_p99_ms": pace(\.besideImage), "whole_ratio": pace(\.wholeRatio),
          "one_question_ms": pace(\.oneQuestion), "eight_questions_ms": pace(\.eightQuestions),
          "stop_ms": pace(\.stop),
        ]))
    }
    object.set("bytes_per_step", to: .integer(work.bytesPerStep))
    object.set("operations_per_token", to: .integer(work.operationsPerToken))
    object.set("compute_share", to: number(\.prefillShare))
    object.set("read_share", to: number(\.decodeShare))
    object.set("repetitions", to: .integer(rounds.count))
    object.set(
      "machine",
      to: .object([
        "read_gb_s": .number(most(\.readGBs).rounded(to: 1)),
        "bf16_gflop_s": .number(most(\.bf16GFlops).rounded(to: 0)),
        "int8_gop_s": .number(most(\.int8GOps).rounded(to: 0)),
      ]))
    return .object(object)
  }

  /// One line for each figure: its name, the median, and what it means.
  var table: String {
    let speed = { (value: (BenchRound) -> Double) in "\(median(value).rounded(to: 1)) tokens/s" }
    let percent = { (share: Double) in "\(Int((share * 100).rounded()))%" }
    var rows: [(String, String, String)] = [
      ("threads, instructions", "\(threads), \(isa.rawValue)", ""),
      ("open the model", median(\.load).duration, ""),
    ]
    if looksAtPictures { rows.append(("look at a picture", median(\.encode).duration, "")) }
    rows += [
      (
        "read \(promptTokens) tokens", speed(\.promptPerSecond),
        "\(percent(median(\.prefillShare))) of what the machine computes in \(work.isInteger ? 8 : 16) bits"
      ),
      (
        "answer after \(depth)", speed(\.predictedPerSecond),
        "\(percent(median(\.decodeShare))) of what it reads from memory, at \(work.bytesPerStep >> 20) MB a token"
      ),
    ]
    func ratio(_ value: Double) -> String {
      "\((value / median(\.predictedPerSecond)).rounded(to: 1)) times as fast"
    }
    if parallel > 1 {
      rows.append(
        ("\(parallel) answers together", speed(\.parallelPerSecond), ratio(median(\.parallelPerSecond))))
    }
    if median(\.quotingPerSecond) > 0 {
      rows.append(("answer that quotes it", speed(\.quotingPerSecond), ratio(median(\.quotingPerSecond))))
    }
    let (first, second) =
      looksAtPictures
      ? ("first word on a picture", "second question on it") : ("first word", "second question")
    rows += [
      (first, median(\.firstToken).duration, "after the process was started"),
      (second, median(\.secondQuestion).duration, "to its first word"),
      ("peak memory", "\(peakMemory >> 20) MB", "the model's file included, as far as it was read"),
      (
        "this machine", "\(most(\.readGBs).rounded(to: 1)) GB/s read",
        "\(Int(most(\.bf16GFlops))) GFLOP/s in 16 bits, \(Int(most(\.int8GOps))) GOP/s in 8 bits"
      ),
    ]
    if rounds[0].pace != nil {
      func times(
        _ value: @escaping (VisionLanguageModel.Pace) -> Double, _ unit: @escaping (VisionLanguageModel.Pace) -> Double
      )
        -> String
      {
        let ratio = median { $0.pace.map { value($0) / unit($0) } ?? 0 }
        return "\(ratio.rounded(to: 2)) times as long"
      }
      rows += [
        ("a word beside a prompt", median { $0.pace?.besidePrompt ?? 0 }.duration, times(\.besidePrompt, \.distance)),
        ("a word beside a picture", median { $0.pace?.besideImage ?? 0 }.duration, times(\.besideImage, \.distance)),
        (
          "eight questions on one", median { $0.pace?.eightQuestions ?? 0 }.duration,
          times(\.eightQuestions, \.oneQuestion)
        ),
        ("stopping", median { $0.pace?.stop ?? 0 }.duration, "until its place is free"),
      ]
    }
    return rows.map { name, value, remark in
      let columns = [(name, 26), (value, 20)].map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
      return columns[0] + (remark.isEmpty ? value : columns[1] + remark)
    }.joined(separator: "\n")
  }
}
