import Limn
import Testing

@Suite struct PromptLookupTests {
  /// What is guessed to follow the last token of a text.
  private func guess(_ text: [Int32], atMost limit: Int = 11) -> [Int32] {
    var lookup = PromptLookup(prompt: text, room: 100, cost: 0.2)
    lookup.draft(atMost: limit, among: 1)
    return Array(lookup.next.dropFirst())
  }

  @Test("what followed the last three tokens before is guessed, of several places at the latest")
  func triples() {
    #expect(guess([1, 2, 3, 7, 1, 2, 3, 8, 9, 4, 1, 2, 3]).first == 8)
    // Three that match beat two that match later.
    #expect(guess([1, 2, 3, 7, 5, 2, 3, 8, 1, 2, 3]).first == 7)
  }

  @Test("two matching tokens are followed where three are not to be found")
  func pairs() {
    #expect(guess([1, 2, 3, 7, 9, 2, 3]).first == 7)
    #expect(guess([1, 3, 7, 9, 2, 3]).isEmpty)
    #expect(guess([1, 2]).isEmpty)
  }

  @Test("a text that repeats itself goes on repeating itself")
  func loops() {
    #expect(guess([5, 6, 5, 6, 5, 6]).starts(with: [5, 6]))
    #expect(guess([5, 6, 5, 6, 5, 6], atMost: 1) == [5])
    #expect(guess([5, 6, 5, 6, 5, 6], atMost: 0).isEmpty)
  }

  @Test("a picture is neither found nor guessed")
  func pictures() {
    #expect(guess([1, -1, 2, 3, -1, 2]).isEmpty)
    #expect(guess([1, 2, -1, 4, 1, 2]).isEmpty)
  }

  @Test("guesses that are wrong become shorter and stop; when they would be right again, so do they")
  func trust() {
    var lookup = PromptLookup(prompt: [1, 2, 3, 1, 2, 3, 1, 2, 3], room: 1000, cost: 0.2)
    func step(_ answer: (Int) -> Int32) -> Int {
      lookup.draft(atMost: 11, among: 1)
      var place = 0
      while lookup.append(answer(lookup.history.count), behind: place) { place += 1 }
      return lookup.next.count - 1
    }
    // The text goes on as it began: guesses become long.
    let right = (0..<20).map { _ in step { Int32($0 % 3 + 1) } }
    #expect(right[19] >= 6 && right[19] > right[0])
    // From now on a pair is never followed by what followed it before.
    let wrong = (0..<40).map { _ in step { $0 % 3 == 2 ? Int32($0) : Int32($0 % 3 + 1) } }
    #expect(wrong.suffix(6).allSatisfy { $0 <= 1 })
    let again = (0..<60).map { _ in step { Int32($0 % 3 + 1) } }
    #expect(again[59] >= 6)
  }

  @Test("the more a further token costs, the shorter are the guesses")
  func costs() {
    let lengths = [0.02, 0.2, 0.5, 2].map { cost in
      var lookup = PromptLookup(prompt: [1, 2, 3, 1, 2, 3, 1, 2, 3], room: 9, cost: cost)
      lookup.draft(atMost: 11, among: 1)
      return lookup.next.count - 1
    }
    #expect(lengths == lengths.sorted(by: >) && lengths[0] > lengths[2] && lengths[3] == 0)
  }

  @Test("the more sequences share a step, the shorter are the guesses")
  func companions() {
    let text: [Int32] = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    var (alone, among) = (PromptLookup(prompt: text, room: 9, cost: 0.2), PromptLookup(prompt: text, room: 9, cost: 0.2))
    alone.draft(atMost: 11, among: 1)
    among.draft(atMost: 11, among: 8)
    #expect(among.next.count < alone.next.count)
  }
}
