package import LimnCore

/// A regular expression, for pre-tokenizers without a hand-written splitter and for `Replace`.
///
/// A backtracking matcher over UTF-8 with its stack on the heap and a bound on its work: neither a hostile
/// pattern nor a long text can hang it, overflow the stack or exhaust memory.
package struct Pattern: Sendable {
  enum Instruction: Sendable {
    case set(CharacterSet)
    /// Matches as many characters of a set as possible, and gives them back one by one.
    case repeatSet(CharacterSet, least: Int, most: Int)
    case split(first: Int, second: Int)
    case jump(Int)
    /// Lookahead: the instructions up to `end` must match here, or must not, without consuming anything.
    case look(end: Int, negative: Bool)
    /// Atomic group: the first match of the instructions up to `end` is final, without backtracking.
    case atomic(end: Int)
    case start
    case end
    case wordBoundary(negative: Bool)
    case match
  }

  private let program: [Instruction]
  /// The step limit of one attempt, since each step may save a backtracking point. Longer attempts fail.
  private static let stepLimit = 200_000
  /// The work limit per byte of text over all attempts, on top of `stepLimit`. Ordinary patterns look at a
  /// character a few times. A text that takes more work has no further matches.
  private static let workPerByte = 300

  package init(_ source: String) throws(LimnError) {
    program = try PatternParser.compile(source)
  }

  /// A pattern that matches exactly this text.
  init(literal: String) {
    program = literal.unicodeScalars.map { .set(CharacterSet([.range($0.value...$0.value)])) } + [.match]
  }

  /// All non-overlapping matches from left to right; they may be empty.
  package func matches(in text: Bytes) -> [Range<Int>] {
    var matcher = Matcher(program: program, text: text, work: Self.stepLimit + Self.workPerByte * text.count)
    var ranges: [Range<Int>] = []
    var index = 0
    var lastEnd = -1
    while index <= text.count, matcher.work > 0 {
      matcher.steps = Self.stepLimit
      if let end = matcher.run(0, at: index), end > index || index != lastEnd {
        ranges.append(index..<end)
        lastEnd = end
        if end > index {
          index = end
          continue
        }
      }
      index += index < text.count ? utf8Length(text[index]) : 1
    }
    return ranges
  }

  private struct Matcher {
    let program: [Instruction]
    let text: Bytes
    /// The steps left for this attempt.
    var steps = 0
    /// The work left for all attempts: steps, and characters consumed within a step.
    var work: Int

    /// Where to continue if the current path fails; for `repeatSet`, all positions down to `least`.
    private struct Choice {
      var instruction: Int
      var position: Int
      var least: Int
    }

    init(program: [Instruction], text: Bytes, work: Int) {
      self.program = program
      self.text = text
      self.work = work
    }

    /// The end of the match that starts with instruction `first` at `start`; nil if there is none.
    mutating func run(_ first: Int, at start: Int) -> Int? {
      var choices: [Choice] = []
      var (instruction, position) = (first, start)
      while true {
        steps -= 1
        work -= 1
        if steps < 0 || work < 0 { return nil }
        switch program[instruction] {
        case .match: return position
        case .jump(let target):
          instruction = target
          continue
        case .split(let first, let second):
          choices.append(Choice(instruction: second, position: position, least: position))
          instruction = first
          continue
        case .set(let set):
          if position < text.count, case (let value, let length) = text.scalar(at: position),
            set.contains(value)
          {
            position += length
            instruction += 1
            continue
          }
        case .repeatSet(let set, let least, let most):
          var (count, end, floor) = (0, position, position)
          while count < most, end < text.count, case (let value, let length) = text.scalar(at: end),
            set.contains(value)
          {
            end += length
            count += 1
            if count == least { floor = end }
          }
          work -= count
          if count >= least {
            instruction += 1
            if floor < end { choices.append(Choice(instruction: instruction, position: end, least: floor)) }
            position = end
            continue
          }
        case .look(let end, let negative):
          if (run(instruction + 1, at: position) != nil) != negative {
            instruction = end
            continue
          }
        case .atomic(let end):
          if let next = run(instruction + 1, at: position) {
            position = next
            instruction = end
            continue
          }
        case .start:
          if position == 0 || text[position - 1] == 10 {
            instruction += 1
            continue
          }
        case .end:
          if position == text.count || text[position] == 10 {
            instruction += 1
            continue
          }
        case .wordBoundary(let negative):
          let before = position > 0 && CharacterClass.isWord(text.scalar(before: position).value)
          let after = position < text.count && CharacterClass.isWord(text.scalar(at: position).value)
          if (before != after) != negative {
            instruction += 1
            continue
          }
        }
        guard let choice = choices.popLast() else { return nil }
        instruction = choice.instruction
        position = choice.position
        if choice.position > choice.least {  // A repeatSet: give one character back.
          position -= text.scalar(before: position).length
          if position > choice.least {
            choices.append(Choice(instruction: instruction, position: position, least: choice.least))
          }
        }
      }
    }
  }
}
