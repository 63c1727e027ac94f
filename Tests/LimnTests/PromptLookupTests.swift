import Limn
import Testing

@Suite struct PromptLookupTests {
  /// The draft that follows the last token of a text.
  private func guess(_ text: [Int32], atMost limit: Int = 11) -> [Int32] {
    var lookup = PromptLookup(prompt: text, room: 100, cost: 0.2)
    lookup.draft(atMost: limit, among: 1)
    return Array(lookup.next.dropFirst())
  }

  @Test("the draft is what followed the last three tokens at their latest earlier occurrence")
  func triples() {
    #expect(guess([1, 2, 3, 7, 1, 2, 3, 8, 9, 4, 1, 2, 3]).first == 8)
    // A match of three tokens beats a later match of two.
    #expect(guess([1, 2, 3, 7, 5, 2, 3, 8, 1, 2, 3]).first == 7)
  }

  @Test("a match of two tokens serves if there is none of three")
  func pairs() {
    #expect(guess([1, 2, 3, 7, 9, 2, 3]).first == 7)
    #expect(guess([1, 3, 7, 9, 2, 3]).isEmpty)
    #expect(guess([1, 2]).isEmpty)
  }

  @Test("the draft of a repeating text goes on repeating it")
  func loops() {
    #expect(guess([5, 6, 5, 6, 5, 6]).starts(with: [5, 6]))
    #expect(guess([5, 6, 5, 6, 5, 6], atMost: 1) == [5])
    #expect(guess([5, 6, 5, 6, 5, 6], atMost: 0).isEmpty)
  }

  @Test("an image is neither matched nor drafted")
  func pictures() {
    #expect(guess([1, -1, 2, 3, -1, 2]).isEmpty)
    #expect(guess([1, 2, -1, 4, 1, 2]).isEmpty)
  }

  @Test("wrong drafts shorten drafts until they stop, and they return once they would be right")
  func trust() {
    var lookup = PromptLookup(prompt: [1, 2, 3, 1, 2, 3, 1, 2, 3], room: 1000, cost: 0.2)
    func step(_ answer: (Int) -> Int32) -> Int {
      lookup.draft(atMost: 11, among: 1)
      var place = 0
      while lookup.append(answer(lookup.history.count), behind: place) { place += 1 }
      return lookup.next.count - 1
    }
    // The text continues as it began, so drafts grow.
    let right = (0..<20).map { _ in step { Int32($0 % 3 + 1) } }
    #expect(right[19] >= 6 && right[19] > right[0])
    // From now on, no pair is followed by what followed it before.
    let wrong = (0..<40).map { _ in step { $0 % 3 == 2 ? Int32($0) : Int32($0 % 3 + 1) } }
    #expect(wrong.suffix(6).allSatisfy { $0 <= 1 })
    let again = (0..<60).map { _ in step { Int32($0 % 3 + 1) } }
    #expect(again[59] >= 6)
  }

  @Test("the more one more token costs, the shorter the drafts")
  func costs() {
    let lengths = [0.02, 0.2, 0.5, 2].map { cost in
      var lookup = PromptLookup(prompt: [1, 2, 3, 1, 2, 3, 1, 2, 3], room: 9, cost: cost)
      lookup.draft(atMost: 11, among: 1)
      return lookup.next.count - 1
    }
    #expect(lengths == lengths.sorted(by: >) && lengths[0] > lengths[2] && lengths[3] == 0)
  }

  @Test("the more sequences share a step, the shorter the drafts")
  func companions() {
    let text: [Int32] = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    var (alone, among) = (
      PromptLookup(prompt: text, room: 9, cost: 0.2), PromptLookup(prompt: text, room: 9, cost: 0.2)
    )
    alone.draft(atMost: 11, among: 1)
    among.draft(atMost: 11, among: 8)
    #expect(among.next.count < alone.next.count)
  }
}
