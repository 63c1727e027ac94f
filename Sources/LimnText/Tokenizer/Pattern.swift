package import LimnCore

/// A regular expression, for the pre-tokenizers that have no splitter of their own and for `Replace`.
///
/// A backtracking matcher over UTF-8 whose stack is on the heap and whose work is counted: neither a
/// hostile pattern nor a long text can hang it, overflow the stack or fill the memory.
package struct Pattern: Sendable {
  enum Instruction: Sendable {
    case set(CharacterSet)
    /// As many characters of a set as there are, giving back one by one.
    case repeatSet(CharacterSet, least: Int, most: Int)
    case split(first: Int, second: Int)
    case jump(Int)
    /// What follows up to `end` must match here, or must not, without being consumed.
    case look(end: Int, negative: Bool)
    /// What follows up to `end` matches as it does at first, without coming back to it.
    case atomic(end: Int)
    case start
    case end
    case wordBoundary(negative: Bool)
    case match
  }

  private let program: [Instruction]
  /// Steps of one attempt, each of which may remember where to come back to; an attempt that takes more counts
  /// as none.
  private static let stepLimit = 200_000
  /// Work for each byte of a text, beyond `stepLimit`, over all attempts: honest patterns look at a character a
  /// few times. A text that takes more has no further matches.
  private static let workPerByte = 300

  package init(_ source: String) throws(LimnError) {
    program = try PatternParser.compile(source)
  }

  /// A pattern that matches exactly this text.
  init(literal: String) {
    program = literal.unicodeScalars.map { .set(CharacterSet([.range($0.value...$0.value)])) } + [.match]
  }

  /// All matches that do not overlap, from left to right; they may be empty.
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
    /// What is left for this attempt.
    var steps = 0
    /// What is left for all attempts: steps, and characters that a step passes over.
    var work: Int

    /// Where to go on if this way fails; for `repeatSet`, all positions down to `least`.
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

    /// The end of the match that starts at a position with an instruction, nil if there is none.
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
